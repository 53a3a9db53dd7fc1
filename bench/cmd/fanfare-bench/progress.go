package main

import (
	"os"

	"github.com/mattn/go-isatty"
	"github.com/schollz/progressbar/v3"
)

// A progress shows the progress of a long run, on a terminal only.
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

// step shows how many steps of total are done, and the next one.
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

// clear removes the bar until the next step.
func (p *progress) clear() {
	if p.bar != nil {
		p.bar.Clear()
	}
}
