package inbox

import "sync"

// recentPositions has positions that this process stored of late, so that the next one of the
// same user needs no look at what is stored: it replaces that message, or is rejected. The
// zero value is ready to use.
type recentPositions struct {
	mu     sync.Mutex
	byName map[string]storedPosition // guarded by mu
}

// mostRecent bounds the entries, of about 150 bytes with the name: 1.2 MiB.
const mostRecent = 8192

// newest returns the entry under a name, if position p comes after it. An entry that p does not exceed may
// have expired since, which only the store knows.
func (r *recentPositions) newest(name string, p position) (stored storedPosition, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	stored, ok = r.byName[name]
	return stored, ok && p.offset > stored.offset
}

// put enters a position that was stored. A full map loses another entry; the order of the
// map is random.
func (r *recentPositions) put(name string, stored storedPosition) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byName == nil {
		r.byName = make(map[string]storedPosition)
	}
	if _, ok := r.byName[name]; !ok && len(r.byName) >= mostRecent {
		for other := range r.byName {
			delete(r.byName, other)
			break
		}
	}
	r.byName[name] = stored
}
