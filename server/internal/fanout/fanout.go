package fanout

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// Portion is how many receivers are served before others run: 64 writes are about 0.4 ms.
const Portion = 64

// MinParallel is how many receivers justify a further goroutine: below it, starting one
// costs more than it saves.
const MinParallel = 256

// Count calls f for each receiver, on this goroutine, and returns for how many it is true.
func Count[T any](to []T, f func(T) bool) (n int) {
	for i, r := range to {
		if f(r) {
			n++
		}
		if i%Portion == Portion-1 {
			runtime.Gosched()
		}
	}
	return n
}

// CountParallel is Count in portions, in parallel if there are enough receivers.
func CountParallel[T any](to []T, f func(T) bool) int {
	return Sum(Parts(len(to)), len(to), func(i int) int { return Count(Part(to, i), f) })
}

// Parts returns the number of portions of n receivers, and Part returns one of them.
func Parts(n int) int { return (n + Portion - 1) / Portion }

// Part returns a portion of the receivers, from 0 on.
func Part[T any](to []T, i int) []T { return to[i*Portion : min((i+1)*Portion, len(to))] }

// Sum calls part for 0 to parts-1 and adds up what it returns, on as many goroutines as there
// are cores less one, if there are receivers enough for them.
//
// One core is left to what arrives meanwhile. A thread asks the network for events only when
// it finds no goroutine to run, and Gosched always leaves one: with a goroutine on every core,
// requests to the API waited for the runtime's monitor, which looks every 10 ms.
func Sum(parts, receivers int, part func(i int) int) int {
	workers := min(max(runtime.GOMAXPROCS(0)-1, 1), receivers/MinParallel, parts)
	var next, total atomic.Int64
	run := func() {
		n := 0
		for i := int(next.Add(1)) - 1; i < parts; i = int(next.Add(1)) - 1 {
			n += part(i)
			runtime.Gosched()
		}
		total.Add(int64(n))
	}
	var wg sync.WaitGroup
	var failed atomic.Pointer[string]
	for range workers - 1 {
		wg.Go(func() {
			defer func() {
				if v := recover(); v != nil {
					text := fmt.Sprintf("%v\n\n%s", v, debug.Stack())
					failed.Store(&text)
				}
			}()
			run()
		})
	}
	run()
	wg.Wait()
	if text := failed.Load(); text != nil {
		panic(*text) // on the caller's goroutine, which can recover
	}
	return int(total.Load())
}
