package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"
)

// The page carries the script that draws its charts: Apache ECharts 5.6.0, common build, Apache License 2.0.
//
//go:embed assets/echarts.common.min.js
var echarts string

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

type page struct {
	Title    string
	Head     []string
	Command  string
	End      []string
	Script   template.JS
	Sections []section
	Servers  []pageServer
}

// A section is one scenario.
type section struct {
	Name, About string
	Charts      []chart
	Tables      []pageTable
}

type pageTable struct {
	Case          string
	Titles, Units []string
	Rows          []pageRow
	Remarks       []string
}

type pageRow struct {
	Color template.CSS
	Cells []string
}

type pageServer struct {
	Name, About string
	Color       template.CSS
}

// WriteHTML writes one self-contained page with tables and charts.
func (r *Run) WriteHTML(w io.Writer) error {
	p := page{
		Title:   "WebSocket push servers compared",
		Head:    r.head(),
		Command: strings.Join(r.Command, " "),
		End:     r.end(),
		Script:  template.JS(echarts),
	}
	for _, s := range r.Servers {
		about := s.About
		if s.Version != "" {
			about += ", " + s.Version
		}
		p.Servers = append(p.Servers, pageServer{s.Name, about, template.CSS(r.color(s.Name))})
	}
	c := charts{run: r}
	groups := r.groups()
	for len(groups) > 0 {
		n := 1
		for n < len(groups) && groups[n].scenario.Name == groups[0].scenario.Name {
			n++
		}
		s, err := r.section(&c, groups[:n])
		if err != nil {
			return err
		}
		p.Sections = append(p.Sections, s)
		groups = groups[n:]
	}
	if err := pageTemplate.Execute(w, p); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

func (r *Run) section(c *charts, groups []group) (s section, err error) {
	s.Name, s.About = groups[0].scenario.Name, groups[0].scenario.About
	if s.Charts, err = c.of(groups); err != nil {
		return s, err
	}
	for _, g := range groups {
		t := r.table(g)
		pt := pageTable{Case: g.at.String(), Titles: t.titles, Units: t.units, Remarks: t.remarks}
		for _, cells := range t.rows {
			pt.Rows = append(pt.Rows, pageRow{template.CSS(r.color(cells[0])), cells})
		}
		s.Tables = append(s.Tables, pt)
	}
	return s, nil
}

// colors of the servers, the same in every chart: warm for fanfare, grey for the floor, cold for the others.
var colors = map[string]string{
	"fanfare-epoll": "#d9480f", "fanfare-easygo": "#f08c00", "fanfare-goroutine": "#f5b93a",
	"gorilla-classic": "#1864ab", "gorilla": "#4dabf7", "gobwas": "#5f3dc4", "easygo": "#b197fc",
	"coder": "#2b8a3e", "gws": "#20c997", "nbio": "#a61e4d",
	"floor1": "#495057", "floor2": "#adb5bd",
}

// spare colors are for the targets of the user.
var spare = []string{"#0b7285", "#e64980", "#66a80f", "#862e9c"}

func (r *Run) color(server string) string {
	if c, ok := colors[server]; ok {
		return c
	}
	n := 0
	for _, s := range r.Servers {
		if s.Name == server {
			break
		}
		if _, ok := colors[s.Name]; !ok {
			n++
		}
	}
	return spare[n%len(spare)]
}
