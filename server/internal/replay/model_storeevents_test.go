package replay

import "fanfare/server/store"

// This file has the events of the model that concern the store only.

func (m *model) storeFails() {
	m.note("store down: %v", !m.store.down)
	m.store.setDown(!m.store.down)
	if !m.store.down {
		m.recheck()
	}
}

func (m *model) storeChanges() {
	switch m.tape.next(4) {
	case 0:
		m.note("store opened again")
		m.store.reopen()
	case 1:
		m.note("store saved")
		m.store.save()
	case 2:
		m.note("store restored")
		m.store.restore()
		clear(m.deleted) // they may be there again
	case 3:
		m.note("replica lags")
		m.store.lag = 2
	}
}

func (m *model) evict() {
	box := inboxOf(modelUsers[m.detail(len(modelUsers))])
	if m.detail(2) == 1 {
		m.delete(box)
		return
	}
	m.note("the first of %v is removed", box)
	if l := m.store.boxes[box]; len(l) > 0 {
		m.evicted[l[0].Offset] = true
	}
	m.store.removeFirst(box)
}

// delete deletes all messages of a box, for a caller.
func (m *model) delete(box store.Box) {
	m.note("%v is deleted", box)
	m.Delete(box, func() {
		for _, msg := range m.store.boxes[box] {
			m.evicted[msg.Offset], m.deleted[msg.Offset] = true, true
		}
		for range len(m.store.boxes[box]) {
			m.store.removeFirst(box)
		}
	}, func(f func(Receiver)) {
		for _, s := range m.sessions {
			if s.stage == running && s.user == box.User {
				f(s.receiver)
			}
		}
	})
}
