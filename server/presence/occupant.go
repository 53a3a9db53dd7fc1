package presence

import (
	"strings"
	"time"

	"fanfare/server/internal/presence"
	"fanfare/server/node"
)

var _ node.Occupancy = (*Service)(nil)

// Occupy implements node.Occupancy.
func (s *Service) Occupy(o node.Occupant, held bool) {
	s.intake.put(presence.Item{Name: nameOf(&o), Held: held})
}

// ServeOccupants implements node.Occupancy, for what Config.Occupants says. Until then this node does
// not lead.
func (s *Service) ServeOccupants(to node.OccupantObserver) {
	s.occupants.Store(&to)
	s.background.Go(func() { s.follow(to) })
}

// Current implements node.Occupancy.
func (s *Service) Current() bool {
	return s.synced.Load() == s.nc.Stats().Reconnects+1 && s.connected(time.Since(s.start))
}

func nameOf(o *node.Occupant) presence.Name {
	if o.Member == "" {
		return presence.NameOf(presence.Channel, o.Topic)
	}
	return presence.NameOf(presence.Occupant, o.Topic+"\n"+o.Member+"\n"+o.Info)
}

// isOccupant reports whether a name is of an occupant.
func isOccupant(name presence.Name) bool {
	return name.Kind() == presence.Channel || name.Kind() == presence.Occupant
}

// occupantOf is the inverse of nameOf, for names that are of an occupant.
func occupantOf(name presence.Name) (o node.Occupant, ok bool) {
	switch name.Kind() {
	case presence.Channel:
		o.Topic, ok = name.Text(), true
	case presence.Occupant:
		var rest string
		if o.Topic, rest, ok = strings.Cut(name.Text(), "\n"); ok {
			o.Member, o.Info, ok = strings.Cut(rest, "\n")
		}
	}
	return o, ok
}

// noteGone tells the observer that a node has ended. It is called by the loop.
func (s *Service) noteGone() {
	gone := s.node.Gone()
	if gone == s.gone {
		return
	}
	s.gone = gone
	if to := s.occupants.Load(); to != nil {
		(*to).NodeGone()
	}
}
