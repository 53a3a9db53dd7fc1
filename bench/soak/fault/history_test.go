package fault

import "testing"

// TestChecker checks that each violation is found, and no others.
func TestChecker(t *testing.T) {
	const alice, bob = "alice", "bob"
	for _, test := range []struct {
		name  string
		all   bool // the device resumes from its own offset
		lie   func(d *device)
		wrong func(v *Verdict) []string // nil: no violation
	}{
		{name: "honest", lie: func(d *device) { receive(d, 1, 2, 3, 4) }},
		{name: "doubles", lie: func(d *device) { receive(d, 1, 2, 1, 2, 3, 2, 3, 4) }},
		{name: "one that was never answered came", lie: func(d *device) { receive(d, 1, 2, 3, 4, 5) }},
		{"first is lost", false, func(d *device) { receive(d, 2, 3, 4) }, func(v *Verdict) []string { return v.Lost }},
		{"one in the middle is lost", false, func(d *device) { receive(d, 1, 2, 4) }, func(v *Verdict) []string { return v.Lost }},
		{"last is lost", false, func(d *device) { receive(d, 1, 2, 3) }, func(v *Verdict) []string { return v.Lost }},
		{"all are lost", false, func(*device) {}, func(v *Verdict) []string { return v.Lost }},
		{"another device has it", true, func(d *device) {
			receive(d.h.device(d.user, "other", false), 1, 2, 3, 4)
			receive(d, 1, 2, 4)
		}, func(v *Verdict) []string { return v.Lost }},
		{"swapped", false, func(d *device) { receive(d, 1, 3, 2, 4) }, func(v *Verdict) []string { return v.Reordered }},
		{"a late duplicate hides nothing", false, func(d *device) { receive(d, 2, 1, 2, 3, 4) }, func(v *Verdict) []string { return v.Reordered }},
		{"for another user", false, func(d *device) {
			receive(d, 1, 2, 3, 4)
			d.receive(receipt{text: text(bob, 1)})
		}, func(v *Verdict) []string { return v.Foreign }},
		{"never pushed", false, func(d *device) { receive(d, 1, 2, 3, 4, 9) }, func(v *Verdict) []string { return v.Foreign }},
		{"garbage", false, func(d *device) {
			receive(d, 1, 2, 3, 4)
			d.receive(receipt{text: "alice 1\x00"})
		}, func(v *Verdict) []string { return v.Foreign }},
		{"gap", false, func(d *device) {
			receive(d, 1, 2, 3)
			d.receive(receipt{text: text(alice, 4), offset: 40, gap: true})
		}, func(v *Verdict) []string { return v.Gaps }},
		{"gap in a hello", false, func(d *device) {
			d.receive(receipt{gap: true})
			receive(d, 1, 2, 3, 4)
		}, func(v *Verdict) []string { return v.Gaps }},
		{"another offset", false, func(d *device) {
			receive(d, 1, 2, 3)
			d.receive(receipt{text: text(alice, 4), offset: 41})
		}, func(v *Verdict) []string { return v.Offsets }},
		{"stored twice, and never answered", false, func(d *device) {
			receive(d, 1, 2, 3, 4)
			d.receive(receipt{text: text(alice, 5), offset: 50})
			d.receive(receipt{text: text(alice, 5), offset: 60})
		}, func(v *Verdict) []string { return v.Offsets }},
		{"offsets go back", false, func(d *device) {
			receive(d, 1, 2, 3, 4)
			d.h.accept(alice, 4, 30)
		}, func(v *Verdict) []string { return v.Offsets }},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHistory()
			for n := 1; n <= 5; n++ {
				h.try(alice, n)
				if n < 5 {
					h.accept(alice, n, uint64(10*n))
				}
			}
			h.try(bob, 1)
			d := h.device(alice, "alice/1", test.all)
			test.lie(d)
			v := h.check()
			if test.wrong == nil {
				if err := v.Err(); err != nil {
					t.Fatal(err)
				}
				return
			}
			if len(test.wrong(v)) != 1 && test.name != "all are lost" {
				t.Errorf("found %q", test.wrong(v))
			}
			if v.Err() == nil {
				t.Error("found nothing")
			}
		})
	}
}

func TestCounts(t *testing.T) {
	h := newHistory()
	for n := 1; n <= 3; n++ {
		h.try("u", n)
	}
	h.accept("u", 1, 7)
	h.accept("u", 2, 8)
	d := h.device("u", "u/1", true)
	receive(d, 1, 1, 2, 1)
	if v := h.check(); v.Accepted != 2 || v.Unknown != 1 || v.Received != 4 || v.Duplicates != 2 || v.Err() != nil {
		t.Errorf("%+v", v)
	}
}

func receive(d *device, numbers ...int) {
	for _, n := range numbers {
		d.receive(receipt{text: text(d.user, n)})
	}
}
