// Package report turns the samples of a run into what people and programs read: a text table, JSON, and one
// HTML page with charts that needs nothing from elsewhere.
//
// A Run holds everything that the reports say, raw, so that any of them can be made from the JSON later.
package report
