package node

import (
	"fmt"
	"testing"
)

func TestMergeReceipts(t *testing.T) {
	one := func() *Receipt {
		return &Receipt{Written: 3, Confirmed: 2, Silent: 1, Final: true, RoundTrips: []uint32{1, 1}}
	}
	for name, test := range map[string]struct{ a, b, want *Receipt }{
		"nobody has it": {},
		"here only":     {one(), nil, one()},
		"there only":    {nil, one(), one()},
		"both":          {one(), &Receipt{Written: 10, Confirmed: 10, RoundTrips: []uint32{5, 0, 0, 5}}, &Receipt{Written: 13, Confirmed: 12, Silent: 1, RoundTrips: []uint32{6, 1, 0, 5}}},
	} {
		if got := MergeReceipts(test.a, test.b); (got == nil) != (test.want == nil) || got != nil && fmt.Sprint(*got) != fmt.Sprint(*test.want) {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
	}
}
