package replay

import "testing"

// TestStep compares the machine with the table in its comment, cell by cell.
func TestStep(t *testing.T) {
	table := [][7]string{ // open, work, take, done, wait, retry, end
		opening: {"queued+", "opening", "-", "-", "-", "-", "closed"},
		idle:    {"-", "queued+", "-", "-", "-", "-", "closed"},
		queued:  {"-", "queued", "working+", "-", "-", "-", "closed"},
		working: {"-", "working", "-", "idle", "waiting+", "-", "closed"},
		waiting: {"-", "waiting", "-", "-", "-", "queued+", "closed"},
		closed:  {"closed", "closed", "closed", "closed", "closed", "closed", "closed"},
	}
	try := func(s state, e event) (got string) {
		defer func() {
			if recover() != nil {
				got = "-"
			}
		}()
		next, listed := step(s, e)
		if got = next.String(); listed {
			got += "+"
		}
		return got
	}
	for s, row := range table {
		for e, want := range row {
			if got := try(state(s), event(e)); got != want {
				t.Errorf("%s, event %d: got %s, want %s", state(s), e, got, want)
			}
		}
	}
	// Only one event leads to a worker, and only from one state.
	for s := range table {
		for e := range table[s] {
			if got := try(state(s), event(e)); got == "working+" && (state(s) != queued || event(e) != evTake) {
				t.Errorf("%s, event %d makes a worker", state(s), e)
			}
		}
	}
}
