package scenario

// sseBroadcast is broadcast to server-sent events.
var sseBroadcast = func() Scenario {
	s := broadcast
	s.Name, s.About = "sse-broadcast", "a payload goes to every stream of server-sent events; the next follows when the last has received it"
	s.Needs, s.Events = "events", true
	return s
}()
