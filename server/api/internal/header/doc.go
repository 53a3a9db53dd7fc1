// Package header rejects requests whose header asks for something that the API does not do:
// ignoring that would do something else than what was asked.
package header
