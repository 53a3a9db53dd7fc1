package main

import (
	"fmt"
	"io"
	"os"

	"fanfare/bench/report"
)

type reportCommand struct {
	File string `arg:"" help:"A file that run has written with --json." type:"existingfile"`
	HTML string `help:"Write a page with charts to this file instead of printing tables." type:"path" placeholder:"FILE"`
}

func (c *reportCommand) Run() error {
	f, err := os.Open(c.File)
	if err != nil {
		return err
	}
	defer f.Close()
	run, err := report.ReadJSON(f)
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	if c.HTML != "" {
		return create(c.HTML, run.WriteHTML)
	}
	run.WriteText(os.Stdout)
	return nil
}

// create writes a file, and closes it whether or not write succeeds.
func create(name string, write func(io.Writer) error) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	if err := write(f); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
