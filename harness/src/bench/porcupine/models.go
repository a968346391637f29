package main

import (
	"hash/maphash"

	"github.com/anishathalye/porcupine"
)

type function uint8

const (
	isRead function = iota
	isWrite
	isAppend
	isCas
)

// input is a call; values and keys are numbers, text is what kv puts or appends.
type input struct {
	f                  function
	key, expected, new int
	text               string
}

// output is a result: what was read, whether it took effect, whether anybody knows.
type output struct {
	isKnown, isDone bool
	value           int
	text            string
}

var models = map[string]porcupine.Model{
	"register": {Partition: byKey, Init: nobody, Step: stepRegister, Hash: hashNumber},
	"kv":       {Partition: byKey, Init: empty, Step: stepText, Hash: hashText},
	"kv-whole": {Init: emptyMap, Step: stepMap, Equal: equalMaps, Hash: hashMap},
}

func byKey(history []porcupine.Operation) [][]porcupine.Operation {
	places := map[int]int{}
	var parts [][]porcupine.Operation
	for _, operation := range history {
		key := operation.Input.(input).key
		place, known := places[key]
		if !known {
			place = len(parts)
			places[key] = place
			parts = append(parts, nil)
		}
		parts[place] = append(parts[place], operation)
	}
	return parts
}

func nobody() interface{} { return nothing }

func stepRegister(state, call, result interface{}) (bool, interface{}) {
	held, in, out := state.(int), call.(input), result.(output)
	switch in.f {
	case isRead:
		return held == out.value, state
	case isCas:
		isMatch := held == in.expected
		if out.isKnown && out.isDone != isMatch {
			return false, state
		}
		if isMatch {
			return true, in.new
		}
		return true, state
	default:
		return true, in.new
	}
}

func hashNumber(state interface{}) uint64 { return uint64(state.(int)) * 0x9e3779b97f4a7c15 }

func empty() interface{} { return "" }

func stepText(state, call, result interface{}) (bool, interface{}) {
	held, in := state.(string), call.(input)
	switch in.f {
	case isRead:
		return held == result.(output).text, state
	case isAppend:
		return true, held + in.text
	default:
		return true, in.text
	}
}

var seed = maphash.MakeSeed()

func hashOf(text string) uint64 {
	var hash maphash.Hash
	hash.SetSeed(seed)
	_, _ = hash.WriteString(text)
	return hash.Sum64()
}

func hashText(state interface{}) uint64 { return hashOf(state.(string)) }

func emptyMap() interface{} { return map[int]string{} }

func stepMap(state, call, result interface{}) (bool, interface{}) {
	held, in := state.(map[int]string), call.(input)
	if in.f == isRead {
		return held[in.key] == result.(output).text, state
	}
	next := make(map[int]string, len(held)+1)
	for key, text := range held {
		next[key] = text
	}
	if in.f == isAppend {
		next[in.key] += in.text
	} else {
		next[in.key] = in.text
	}
	return true, next
}

func equalMaps(one, other interface{}) bool {
	a, b := one.(map[int]string), other.(map[int]string)
	if len(a) != len(b) {
		return false
	}
	for key, text := range a {
		if b[key] != text {
			return false
		}
	}
	return true
}

func hashMap(state interface{}) uint64 {
	var hash uint64
	for key, text := range state.(map[int]string) {
		hash ^= (hashOf(text) + uint64(key)) * 0x9e3779b97f4a7c15
	}
	return hash
}
