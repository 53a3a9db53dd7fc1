// Package operate has the questions of an operator that one node asks of the others, and the
// answers: lists of users, topics and sessions, and closing sessions. A [Question] and an
// [Answer] are JSON in the payload of a node.Command and in a node.Reply, so that one more
// question needs no change of what nodes speak.
//
// # Contract
//
// A member that a node does not know is an error, not ignored: a node of an older version
// answers that it cannot do it, and counts as missing. [Question.Check] holds for what is sent
// and for what is received.
//
// Pages are in the order of a key: a name, or [SessionKey]. Each node answers with the first
// keys after one, one more than the page has, so that the merged first ones are right, and
// what stays from the first page to the last is in exactly one of them.
package operate
