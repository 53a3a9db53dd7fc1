package main

import (
	"os"

	"github.com/mattn/go-isatty"
	"github.com/schollz/progressbar/v3"
)

// A progress shows how far a long run is, on a terminal only.
type progress struct {
	file *os.File
	bar  *progressbar.ProgressBar
}

func newProgress(file *os.File) *progress {
	if !isatty.IsTerminal(file.Fd()) {
		file = nil
	}
	return &progress{file: file}
}

// step shows that done of total are done and what comes next.
func (p *progress) step(done, total int, what string) {
	if p.file == nil {
		return
	}
	if p.bar == nil {
		p.bar = progressbar.NewOptions(total,
			progressbar.OptionSetWriter(p.file),
			progressbar.OptionSetWidth(20),
			progressbar.OptionShowCount(),
			progressbar.OptionSetElapsedTime(false),
			progressbar.OptionSetPredictTime(true),
			progressbar.OptionClearOnFinish(),
			progressbar.OptionSetRenderBlankState(true))
	}
	p.bar.Describe(what)
	p.bar.Set(done)
}

// clear takes the bar away, until the next step.
func (p *progress) clear() {
	if p.bar != nil {
		p.bar.Clear()
	}
}
