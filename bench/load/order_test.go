package load

import "testing"

func TestOrder(t *testing.T) {
	tests := []struct {
		name                        string
		seqs                        []uint32
		lost, duplicated, reordered int
		next                        uint32
	}{
		{"in order", []uint32{5, 6, 7}, 0, 0, 0, 8},
		{"one lost", []uint32{5, 7}, 1, 0, 0, 8},
		{"three lost", []uint32{5, 9}, 3, 0, 0, 10},
		{"a hundred lost", []uint32{5, 106}, 100, 0, 0, 107},
		{"duplicated", []uint32{5, 5, 6}, 0, 1, 0, 7},
		{"duplicated later", []uint32{5, 6, 7, 5}, 0, 1, 0, 8},
		{"from before the first", []uint32{5, 4}, 0, 1, 0, 6},
		{"swapped", []uint32{6, 5, 7}, 0, 0, 1, 8},
		{"swapped and duplicated", []uint32{6, 5, 5}, 0, 1, 1, 7},
		{"very late", []uint32{5, 69, 6}, 62, 0, 1, 70},
		{"older than memory", []uint32{5, 106, 6}, 100, 1, 0, 107},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := startingAt(5)
			var f Faults
			for _, s := range tt.seqs {
				o.check(s, &f, func() string { return "x" })
			}
			if f.Lost != tt.lost || f.Duplicated != tt.duplicated || f.Reordered != tt.reordered || o.next != tt.next {
				t.Errorf("lost %d, duplicated %d, reordered %d, next %d; want %d, %d, %d, %d",
					f.Lost, f.Duplicated, f.Reordered, o.next, tt.lost, tt.duplicated, tt.reordered, tt.next)
			}
		})
	}
}

func TestOrderWraps(t *testing.T) {
	o := startingAt(1<<32 - 1)
	var f Faults
	for _, s := range []uint32{1<<32 - 1, 0, 1} {
		o.check(s, &f, func() string { return "x" })
	}
	if f.Total() != 0 {
		t.Error(f.Err())
	}
}
