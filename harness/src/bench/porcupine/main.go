// Has Porcupine judge one history in JSON lines and says what that cost.
//
//	porcupine-bench -model register -runs 5 -timeout 60s -memory-mib 8192 history.jsonl
//
// Models: register (read, write, cas; null at first), kv (get, put, append of strings, "" at first), and
// kv-whole, the same without partitioning by key. Keys of a register are judged apart.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/anishathalye/porcupine"
)

// Report is what is printed, as one line of JSON.
type Report struct {
	// ok, illegal, or unknown when the time ran out.
	Verdict string `json:"verdict"`
	// Operations judged.
	Operations int `json:"operations"`
	// Processor time of every run, user and system, all threads, in milliseconds, ascending.
	CPUMs []float64 `json:"cpu_ms"`
	// Wall time of every run, in milliseconds, ascending.
	WallMs []float64 `json:"wall_ms"`
	// Most resident memory over all runs, beyond what was resident before the first, in bytes.
	MemoryBytes int64 `json:"memory_bytes"`
}

func main() {
	name := flag.String("model", "register", "register, kv or kv-whole")
	runs := flag.Int("runs", 5, "how often to judge")
	timeout := flag.Duration("timeout", time.Minute, "most time of one run")
	memory := flag.Uint64("memory-mib", 8192, "most memory, in MiB; past it the program dies")
	flag.Parse()
	if flag.NArg() != 1 || *runs < 1 {
		fail("usage: porcupine-bench [-model NAME] [-runs N] [-timeout D] [-memory-mib N] FILE")
	}
	model, known := models[*name]
	if !known {
		fail("no model %q; there are register, kv and kv-whole", *name)
	}
	limit := syscall.Rlimit{Cur: *memory << 20, Max: *memory << 20}
	if err := syscall.Setrlimit(syscall.RLIMIT_DATA, &limit); err != nil {
		fail("failed to limit memory: %v", err)
	}
	operations, err := read(flag.Arg(0))
	if err != nil {
		fail("%s: %v", flag.Arg(0), err)
	}
	report := measure(model, operations, *runs, *timeout)
	if err := json.NewEncoder(os.Stdout).Encode(report); err != nil {
		fail("failed to print: %v", err)
	}
}

func measure(model porcupine.Model, operations []porcupine.Operation, runs int, timeout time.Duration) Report {
	debug.FreeOSMemory()
	before := status("VmRSS")
	// Makes the kernel forget the peak so far; where it cannot, the peak is that of the whole process.
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
	report := Report{Operations: len(operations)}
	for run := 0; run < runs; run++ {
		runtime.GC()
		cpu, wall := cpuTime(), time.Now()
		result := porcupine.CheckOperationsTimeout(model, operations, timeout)
		report.WallMs = append(report.WallMs, ms(time.Since(wall)))
		report.CPUMs = append(report.CPUMs, ms(cpuTime()-cpu))
		report.Verdict = strings.ToLower(string(result))
		if result == porcupine.Unknown {
			break
		}
	}
	sort.Float64s(report.CPUMs)
	sort.Float64s(report.WallMs)
	report.MemoryBytes = status("VmHWM") - before
	return report
}

func ms(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }

func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		fail("failed to read the processor time: %v", err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// A line of /proc/self/status, in bytes.
func status(field string) int64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		fail("failed to read the memory in use: %v", err)
	}
	for _, line := range strings.Split(string(text), "\n") {
		words := strings.Fields(line)
		if len(words) == 3 && words[0] == field+":" {
			kib, err := strconv.ParseInt(words[1], 10, 64)
			if err == nil {
				return kib << 10
			}
		}
	}
	fail("no %s in the process's status", field)
	return 0
}

func fail(format string, args ...interface{}) {
	fmt.Fprintf(os.Stderr, "porcupine-bench: "+format+"\n", args...)
	os.Exit(1)
}
