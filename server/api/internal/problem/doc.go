// Package problem says why a request failed: to programs with a code, and to people with a
// message that names what is wrong, where, and what was probably meant.
package problem
