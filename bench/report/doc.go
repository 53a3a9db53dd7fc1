// Package report writes the samples of a run as text tables, as JSON, and as one self-contained HTML page with charts.
//
// A Run holds the raw samples, so that each report can be written again from the JSON.
package report
