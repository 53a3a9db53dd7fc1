// Package body reads the bodies of requests into pooled buffers, and bounds how many long ones
// are worked on at a time.
package body
