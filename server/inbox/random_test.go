package inbox

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"fanfare/server/store"
)

// TestRandomKills: whatever a store did, with small limits that remove much, and
// whenever it is killed, the next start misses nothing that was removed lawfully, and
// has all that must be there.
func TestRandomKills(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			if raceEnabled && seed != 2 { // 2 has the configuration with most goroutines: one drops messages
				t.Skip("one goroutine chooses what happens: runs without the race detector")
			}
			random := rand.New(rand.NewPCG(seed, 0))
			configs := []Config{
				{Messages: 3, Bytes: 20_000},
				{Messages: 100, Bytes: 10_000, UserFull: FullReject},
				{Messages: 20, Disk: 1 << 20, DiskFull: FullDropOldest},
				{Messages: 2, Sync: -1},
			}
			cfg := configs[seed]
			cfg.Dir = t.TempDir()
			s := open(t, cfg)
			newest := make(map[store.Box]string)
			for step := range 400 {
				box := user(fmt.Sprint(random.IntN(5)))
				if random.IntN(4) == 0 {
					box = topic(fmt.Sprint(random.IntN(3)))
				}
				switch random.IntN(20) {
				case 0:
					if _, err := s.Purge(ctx, box); err != nil {
						t.Fatal(err)
					}
					delete(newest, box)
				case 1:
					last, err := s.Last(ctx, box)
					if err != nil {
						t.Fatal(err)
					}
					if err := s.AckSync(ctx, box, "reader", last); err != nil {
						t.Fatal(err)
					}
				case 2:
					all := files(t, cfg.Dir)
					if random.IntN(2) == 0 { // killed; or else a copy is looked at
						s.close()
						cfg.Dir = lay(t, all)
						s = open(t, cfg)
						continue
					}
					other := cfg
					other.Dir = lay(t, all)
					if random.IntN(2) == 0 {
						other.Messages = 1 + random.IntN(10)
						other.Age = configs[0].Age
						other.UserFull = FullDropOldest // a lower limit does not remove what a user has not read otherwise
					}
					copied := open(t, other)
					for box, want := range newest {
						got, _ := read(t, copied, box, 0)
						if len(got) == 0 || got[len(got)-1] != want {
							t.Errorf("step %d: %v does not end with %.10q", step, box, want)
						}
					}
					copied.close()
				case 3:
					s.close()
					s = open(t, cfg)
				default:
					text := fmt.Sprint(step, strings.Repeat("x", random.IntN(5_000)))
					_, err := add(s, box, store.Entry{Payload: []byte(text)})
					if err == nil {
						newest[box] = text
					} else if cfg.UserFull != FullReject {
						t.Fatal(err)
					}
				}
			}
		})
	}
}
