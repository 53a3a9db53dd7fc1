// Package embed is the code that README.md and docs/embed.md quote: a test of package
// main compares them, and the tests here run it.
package embed
