package limit

import "testing"

func TestDivide(t *testing.T) {
	for _, test := range []struct {
		open, others int
		want         Descriptors
	}{
		{0, 500, Descriptors{0, 1 << 20, 4096, 64}},
		{64, 0, Descriptors{64, 1, 8, 8}},
		{300, 0, Descriptors{300, 186, 9, 9}},
		{300, 128, Descriptors{300, 58, 9, 9}},
		{1024, 0, Descriptors{1024, 864, 32, 32}},
		{4096, 0, Descriptors{4096, 3744, 192, 64}},
		{5000, 256, Descriptors{5000, 4336, 248, 64}},
		{1 << 20, 0, Descriptors{1 << 20, 1<<20 - 96 - 4160, 4096, 64}},
	} {
		if got := divide(test.open, test.others); got != test.want {
			t.Errorf("%d descriptors, %d of others: got %+v, want %+v", test.open, test.others, got, test.want)
		}
	}
}

// The parts never exceed the limit, from where there is enough for all.
func TestDivideAddsUp(t *testing.T) {
	for _, others := range []int{0, 5, 128, 4096} {
		for open := 120 + others*17/15; open < 1<<21; open += 1 + open/100 {
			d := divide(open, others)
			if sum := d.Public + d.API + d.Rejected + others + inner + lingering; sum > open {
				t.Errorf("%d descriptors, %d of others: %+v are %d", open, others, d, sum)
			}
		}
	}
	if d := Divide(0); d.Public < 1 || d.API < 1 {
		t.Errorf("got %+v", d)
	}
}
