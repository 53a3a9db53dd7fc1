package server

import (
	"net/http"
	"unique"

	"fanfare/server/where"
)

// checkLabels checks the labels of an identity.
func (id *Identity) checkLabels() error {
	if len(id.Labels) == 0 {
		return nil
	}
	if _, err := where.MakeLabels(id.Labels); err != nil {
		return Reject(http.StatusBadRequest, "labels: "+err.Error())
	}
	return nil
}

// setLabels gives the session labels that checkLabels accepts, in place of those that it has.
// Sessions with equal labels share them; a session without labels pays nothing.
func (s *Session) setLabels(m map[string]string) {
	x := s.ext.Load()
	if len(m) == 0 && x == nil {
		return
	}
	if x == nil {
		x = s.extend()
	}
	var labels unique.Handle[where.Labels]
	if l, err := where.MakeLabels(m); err == nil && l != "" {
		labels = unique.Make(l)
	}
	x.mu.Lock()
	x.labels = labels
	x.mu.Unlock()
}

// Labels returns the labels of the session: Identity.Labels, of the last Refresh if there was
// one. nil: it has none.
func (s *Session) Labels() map[string]string { return s.labels().Map() }

// labels is Labels without an allocation.
func (s *Session) labels() where.Labels {
	x := s.ext.Load()
	if x == nil {
		return ""
	}
	x.mu.Lock()
	labels := x.labels
	x.mu.Unlock()
	if labels == (unique.Handle[where.Labels]{}) {
		return ""
	}
	return labels.Value()
}
