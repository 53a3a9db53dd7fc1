package report

import "io"

func (r *Run) WriteHTML(w io.Writer) error { return nil }
