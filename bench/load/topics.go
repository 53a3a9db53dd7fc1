package load

import (
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"strconv"
)

// Topics defines subscriptions: each user subscribes to Each of Count topics, and topic i has the weight 1/i^Skew (Zipf's
// law). Processes with the same Topics have the same subscriptions.
type Topics struct {
	Count int     `json:"count"`
	Each  int     `json:"each"`
	Skew  float64 `json:"skew"`
	Seed  uint64  `json:"seed"`

	reach []float64 // cumulated weights, once needed
}

// Of returns the topics of a user, without repetition.
func (t *Topics) Of(user uint32) []uint32 {
	if t.reach == nil {
		sum := 0.0
		for i := range t.Count {
			sum += math.Pow(float64(i+1), -t.Skew)
			t.reach = append(t.reach, sum)
		}
	}
	r := rand.New(rand.NewPCG(t.Seed, uint64(user)))
	var topics []uint32
	for len(topics) < min(t.Each, t.Count) {
		at := uint32(sort.SearchFloat64s(t.reach, r.Float64()*t.reach[t.Count-1]))
		if !slices.Contains(topics, at) {
			topics = append(topics, at)
		}
	}
	return topics
}

// Query returns the subscriptions of a user as the end of a query string.
func (t *Topics) Query(user uint32) string {
	var b []byte
	for _, topic := range t.Of(user) {
		b = append(append(b, "&topic="...), TopicName(topic)...)
	}
	return string(b)
}

// TopicName returns the name of a topic.
func TopicName(topic uint32) string { return "t" + strconv.Itoa(int(topic)) }

// UserName returns the name of a user.
func UserName(user uint32) string { return "u" + strconv.Itoa(int(user)) }

// UserNames returns the names of n users, from the first on.
func UserNames(first uint32, n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = UserName(first + uint32(i))
	}
	return names
}

// Subscribers counts the users of each topic among the first users.
func (t *Topics) Subscribers(users int) []int {
	n := make([]int, t.Count)
	for u := range users {
		for _, topic := range t.Of(uint32(u)) {
			n[topic]++
		}
	}
	return n
}
