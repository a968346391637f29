package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"os"

	"github.com/anishathalye/porcupine"
)

// event is one line of a history.
type event struct {
	Process json.RawMessage `json:"process"`
	Type    string          `json:"type"`
	F       string          `json:"f"`
	Key     json.RawMessage `json:"key"`
	Value   json.RawMessage `json:"value"`
	Error   string          `json:"error"`
}

// nothing is the number of null: a register nobody has written to.
const nothing = 0

// numbers gives every value a small number, so that comparing values costs Porcupine as little as it can.
type numbers map[string]int

func (n numbers) of(value json.RawMessage) int {
	if len(value) == 0 || string(value) == "null" {
		return nothing
	}
	number, known := n[string(value)]
	if !known {
		number = len(n) + 1
		n[string(value)] = number
	}
	return number
}

// reader pairs calls with returns.
type reader struct {
	values, keys numbers
	operations   []porcupine.Operation
	// By process: the place of its open call.
	open  map[string]int
	clock int64
	// Places of operations that told nothing and had no effect.
	void map[int]bool
}

// read takes a history. Operations whose outcome is unknown return after everything else; failed ones and reads
// without a result are left out, which is to Porcupine's advantage.
func read(path string) ([]porcupine.Operation, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	r := reader{values: numbers{}, keys: numbers{}, open: map[string]int{}, void: map[int]bool{}}
	lines := bufio.NewScanner(file)
	lines.Buffer(make([]byte, 1<<16), 1<<26)
	for number := 1; lines.Scan(); number++ {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, fmt.Errorf("line %d: %v", number, err)
		}
		if err := r.take(e); err != nil {
			return nil, fmt.Errorf("line %d: %v", number, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	return r.finish(), nil
}

func (r *reader) take(e event) error {
	if string(e.Process) == `"nemesis"` {
		return nil
	}
	r.clock++
	process := string(e.Process)
	place, isOpen := r.open[process]
	if e.Type == "invoke" {
		if isOpen {
			return fmt.Errorf("process %s calls while its last call is open", process)
		}
		input, err := r.input(e)
		if err != nil {
			return err
		}
		r.open[process] = len(r.operations)
		r.operations = append(r.operations, porcupine.Operation{Input: input, Call: r.clock, Return: math.MaxInt64})
		return nil
	}
	if !isOpen {
		return fmt.Errorf("process %s completes what it has not called", process)
	}
	delete(r.open, process)
	operation := &r.operations[place]
	switch e.Type {
	case "ok":
		operation.Return = r.clock
		output := output{isKnown: true, isDone: true}
		if operation.Input.(input).f == isRead {
			output.value = r.values.of(e.Value)
			if err := json.Unmarshal(orNull(e.Value), &output.text); err != nil {
				output.text = ""
			}
		}
		operation.Output = output
	case "fail":
		operation.Return = r.clock
		operation.Output = output{isKnown: true}
		if operation.Input.(input).f != isCas || e.Error != "mismatch" {
			r.void[place] = true
		}
	case "info":
	default:
		return fmt.Errorf("no type %q", e.Type)
	}
	return nil
}

func (r *reader) input(e event) (input, error) {
	in := input{key: r.keys.of(e.Key)}
	switch e.F {
	case "read", "get":
		in.f = isRead
	case "write", "put", "append":
		in.f = isWrite
		if e.F == "append" {
			in.f = isAppend
		}
		in.new = r.values.of(e.Value)
		// Text matters to kv alone; a register's values may be anything.
		_ = json.Unmarshal(orNull(e.Value), &in.text)
	case "cas":
		var pair []json.RawMessage
		if err := json.Unmarshal(orNull(e.Value), &pair); err != nil || len(pair) != 2 {
			return in, fmt.Errorf("a cas of %s, which is not a pair", e.Value)
		}
		in.f, in.expected, in.new = isCas, r.values.of(pair[0]), r.values.of(pair[1])
	default:
		return in, fmt.Errorf("no function %q", e.F)
	}
	return in, nil
}

func (r *reader) finish() []porcupine.Operation {
	told := make([]porcupine.Operation, 0, len(r.operations))
	last := r.clock
	for place, operation := range r.operations {
		if operation.Return == math.MaxInt64 {
			if operation.Input.(input).f == isRead {
				continue
			}
			last++
			operation.Return, operation.Output = last, output{}
		}
		if !r.void[place] {
			told = append(told, operation)
		}
	}
	return told
}

func orNull(value json.RawMessage) json.RawMessage {
	if len(value) == 0 {
		return json.RawMessage("null")
	}
	return value
}
