package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"html/template"
	"math"
	"slices"
	"strconv"
	"strings"

	"fanfare/bench/fleet"
	"fanfare/bench/scenario"
	"fanfare/bench/stats"

	"github.com/HdrHistogram/hdrhistogram-go"
	echart "github.com/go-echarts/go-echarts/v2/charts"
	"github.com/go-echarts/go-echarts/v2/opts"
	"github.com/go-echarts/go-echarts/v2/render"
)

// A chart is one chart of the page.
type chart struct {
	Title, About  string
	Element, Code template.HTML
}

// charts draws charts and numbers them.
type charts struct {
	run *Run
	n   int
}

// of draws the charts of one scenario: its main metrics, as lines over the number of connections or as bars if there is
// one number only, and the percentiles of its latency.
func (c *charts) of(groups []group) (all []chart, err error) {
	// The charts show the first size and depth only; the tables show all.
	var line []group
	for _, g := range groups {
		if g.at.Size == groups[0].at.Size && g.at.Depth == groups[0].at.Depth {
			line = append(line, g)
		}
	}
	slices.SortFunc(line, func(a, b group) int { return a.at.Connections - b.at.Connections })
	for _, m := range charted(line[0].scenario) {
		if len(line) > 1 {
			all = append(all, c.lines(line, m))
		} else {
			all = append(all, c.bars(line[0], m))
		}
	}
	last := line[len(line)-1]
	if slices.ContainsFunc(last.rows, func(w row) bool { return w.latency() != nil }) {
		all = append(all, c.percentiles(last))
	}
	return all, nil
}

// charted lists the metrics of a scenario that have a chart: the main one, and the costs of a message or connection.
func charted(s scenario.Scenario) (metrics []scenario.Metric) {
	for i, m := range s.Metrics {
		if i == 0 || m.Key == "server_us" || m.Key == "last" || s.Name == "idle" && m.Key == "rss_mib" {
			metrics = append(metrics, m)
		}
	}
	return metrics
}

func axisName(m scenario.Metric) string { return strings.TrimSpace(m.Title + " " + bracket(m.Unit)) }

func bracket(unit string) string {
	if unit == "" {
		return ""
	}
	return "(" + unit + ")"
}

func better(m scenario.Metric) string {
	switch m.Better {
	case 1:
		return "more is better"
	case -1:
		return "less is better"
	}
	return ""
}

const fontColor, lineColor = "#5c6570", "#e3e6ea"

// frame returns the options that all charts share.
func (c *charts) frame(height int) []echart.GlobalOpts {
	c.n++
	return []echart.GlobalOpts{
		echart.WithInitializationOpts(opts.Initialization{
			ChartID: fmt.Sprintf("chart%d", c.n), Width: "100%", Height: fmt.Sprintf("%dpx", height), Renderer: "svg",
		}),
		echart.WithAnimation(false),
		echart.WithColorsOpts(c.palette()),
	}
}

func (c *charts) palette() (palette opts.Colors) {
	for _, s := range c.run.Servers {
		palette = append(palette, c.run.color(s.Name))
	}
	return palette
}

func finish(title, about string, snippet render.ChartSnippet) chart {
	return chart{title, about, template.HTML(snippet.Element), template.HTML(snippet.Script)}
}

// bars draws one metric of one group, a bar for each server.
func (c *charts) bars(g group, m scenario.Metric) chart {
	base, compare := g.find(c.run.Baseline)
	longest := 0.0
	for _, row := range g.rows {
		longest = max(longest, stats.Summarize(row.values(m.Key)).Max)
	}
	b := echart.NewBar()
	b.SetGlobalOptions(append(c.frame(60+26*len(g.rows)),
		echart.WithGridOpts(opts.Grid{Left: "4", Right: "70", Top: "8", Bottom: "4", ContainLabel: opts.Bool(true)}),
		echart.WithLegendOpts(opts.Legend{Show: opts.Bool(false)}),
		echart.WithXAxisOpts(opts.XAxis{
			Type: "value", Max: axisEnd(longest), AxisLabel: &opts.AxisLabel{Color: fontColor, HideOverlap: opts.Bool(true)},
			SplitLine: &opts.SplitLine{Show: opts.Bool(true), LineStyle: &opts.LineStyle{Color: lineColor}},
		}),
		echart.WithYAxisOpts(opts.YAxis{
			Type: "category", Inverse: opts.Bool(true), AxisLabel: &opts.AxisLabel{Color: fontColor, Interval: "0"},
		}))...)
	var names []string
	var data []opts.BarData
	var errorBars []opts.MarkLineNameCoordItem
	for _, row := range g.rows {
		s := stats.Summarize(row.values(m.Key))
		if s.N == 0 {
			continue
		}
		label := row.server.Name + "  " + number(s, m)
		if compare && row.server.Name != base.server.Name && undecided(row.against(base, m.Key)) {
			label += ", undecided"
		}
		names = append(names, label)
		errorBars = append(errorBars, opts.MarkLineNameCoordItem{Coordinate0: []any{s.Min, label}, Coordinate1: []any{s.Max, label}})
		bar := opts.BarData{
			ItemStyle: &opts.ItemStyle{Color: c.run.color(row.server.Name)},
			Value:     s.Median,
		}
		data = append(data, bar)
	}
	b.SetXAxis(names).AddSeries(m.Title, data, append(withErrorBars(errorBars, ""), echart.WithBarChartOpts(opts.BarChart{BarCategoryGap: "35%"}))...)
	b.XYReversal()
	return finish(axisName(m), join(g.at.String(), better(m), errorBarsMean), b.RenderSnippet())
}

// errorBarsMean explains the error bars of a chart.
const errorBarsMean = "error bars: smallest to largest of the rounds"

// axisEnd rounds a value up to two digits. An axis ends there, because ECharts chooses the end by the bars, and hides
// error bars that go beyond it.
func axisEnd(value float64) any {
	if value <= 0 {
		return nil
	}
	unit := math.Pow(10, math.Floor(math.Log10(value))-1)
	return math.Ceil(value/unit) * unit
}

// withErrorBars draws error bars as marked lines between two points each.
func withErrorBars(bars []opts.MarkLineNameCoordItem, color string) []echart.SeriesOpts {
	return []echart.SeriesOpts{
		echart.WithMarkLineNameCoordItemOpts(bars...),
		echart.WithMarkLineStyleOpts(opts.MarkLineStyle{
			Symbol: []string{"circle", "circle"}, SymbolSize: 4, Label: &opts.Label{Show: opts.Bool(false)},
			LineStyle: &opts.LineStyle{Color: cmp.Or(color, "#212529"), Width: 1.2, Type: "solid"},
		}),
	}
}

func join(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), "; ")
}

// lines draws one metric against the number of connections, a line for each server.
func (c *charts) lines(groups []group, m scenario.Metric) chart {
	var all []float64
	for _, g := range groups {
		for _, row := range g.rows {
			if s := stats.Summarize(row.values(m.Key)); s.N > 0 {
				all = append(all, s.Median, s.Max)
			}
		}
	}
	l := c.lineChart("connections", "", all)
	for _, server := range c.run.Servers {
		var data []opts.LineData
		var errorBars []opts.MarkLineNameCoordItem
		for _, g := range groups {
			row, ok := g.find(server.Name)
			if !ok {
				continue
			}
			if s := stats.Summarize(row.values(m.Key)); s.N > 0 {
				x := float64(g.at.Connections)
				data = append(data, point(x, s.Median))
				errorBars = append(errorBars, opts.MarkLineNameCoordItem{Coordinate0: []any{x, s.Min}, Coordinate1: []any{x, s.Max}})
			}
		}
		c.add(l, server.Name, data, true, withErrorBars(errorBars, c.run.color(server.Name))...)
	}
	return finish(axisName(m)+" against connections", join(caseWithout(groups[0].at), better(m), errorBarsMean), l.RenderSnippet())
}

// caseWithout describes a case without its connections.
func caseWithout(at scenario.Case) string {
	_, rest, _ := strings.Cut(at.String(), ", ")
	return rest
}

// point rounds both numbers to four digits, for the tooltip.
func point(x, y float64) opts.LineData {
	short := func(v float64) json.Number { return json.Number(strconv.FormatFloat(v, 'g', 4, 64)) }
	return opts.LineData{Value: []json.Number{short(x), short(y)}}
}

// percentiles draws the latency of each server at each percentile: x is 1/(1-q) on a logarithmic axis, so
// that 90, 99 and 99.9 % are equally far apart.
func (c *charts) percentiles(g group) chart {
	l := c.lineChart("percentile", "function (v) { return v <= 1 ? '0 %' : +(100 - 100 / v).toFixed(2) + ' %' }", []float64{1, math.Inf(1)})
	for _, server := range c.run.Servers {
		row, ok := g.find(server.Name)
		if !ok {
			continue
		}
		h := row.latency()
		if h == nil {
			continue
		}
		var data []opts.LineData
		// The last percentile has at least ten values above it.
		for x := 1.25; x <= float64(h.TotalCount())/10; x *= math.Pow(10, 0.1) {
			data = append(data, point(x, float64(h.ValueAtQuantile(100-100/x))/1e3))
		}
		c.add(l, server.Name, data, false)
	}
	return finish("latency (µs) by percentile", join(g.at.String(), "less is better"), l.RenderSnippet())
}

// farApart is the ratio between values above which their axis is logarithmic.
const farApart = 20

// lineChart returns a chart with a logarithmic x axis, and a logarithmic y axis for values that are far apart.
func (c *charts) lineChart(x, xLabel string, values []float64) *echart.Line {
	scale, end := "value", any(nil)
	if len(values) > 0 && !math.IsInf(slices.Max(values), 1) {
		end = axisEnd(slices.Max(values))
	}
	if len(values) > 0 && slices.Min(values) > 0 && slices.Max(values) > farApart*slices.Min(values) {
		scale, end = "log", nil // ends at a power of ten
	}
	l := echart.NewLine()
	label := &opts.AxisLabel{Color: fontColor, HideOverlap: opts.Bool(true)}
	if xLabel != "" {
		label.Formatter = opts.FuncOpts(xLabel)
	}
	grid := &opts.SplitLine{Show: opts.Bool(true), LineStyle: &opts.LineStyle{Color: lineColor}}
	l.SetGlobalOptions(append(c.frame(380),
		echart.WithGridOpts(opts.Grid{Left: "8", Right: "36", Top: "14", Bottom: "64", ContainLabel: opts.Bool(true)}),
		echart.WithLegendOpts(opts.Legend{Show: opts.Bool(true), Bottom: "0", ItemWidth: 18, ItemHeight: 8, TextStyle: &opts.TextStyle{Color: fontColor}}),
		echart.WithTooltipOpts(opts.Tooltip{Show: opts.Bool(true), Trigger: "item"}),
		echart.WithXAxisOpts(opts.XAxis{
			Type: "log", Name: x, NameLocation: "middle", NameGap: 26, Min: "dataMin", Max: "dataMax", SplitLine: grid,
			AxisLabel: label,
		}),
		echart.WithYAxisOpts(opts.YAxis{Type: scale, Max: end, AxisLabel: &opts.AxisLabel{Color: fontColor}, SplitLine: grid}))...)
	return l
}

func (c *charts) add(l *echart.Line, server string, data []opts.LineData, points bool, more ...echart.SeriesOpts) {
	if len(data) == 0 {
		return
	}
	style := opts.LineStyle{Width: 1.8, Color: c.run.color(server)}
	switch {
	case strings.HasPrefix(server, "fanfare-epoll"):
		style.Width = 3.5
	case strings.HasPrefix(server, "floor"):
		style.Type = "dashed"
	}
	l.AddSeries(server, data, append(more,
		echart.WithLineStyleOpts(style),
		echart.WithItemStyleOpts(opts.ItemStyle{Color: style.Color}),
		echart.WithLineChartOpts(opts.LineChart{ShowSymbol: opts.Bool(points), SymbolSize: 6}))...)
}

// latency merges the histograms of a row's samples. It returns nil if there are none.
func (w row) latency() (all *hdrhistogram.Histogram) {
	for _, s := range w.samples {
		if s.Latency == "" {
			continue
		}
		h, err := fleet.Unpack(s.Latency)
		switch {
		case err != nil: // the numbers of the sample are still valid
		case all == nil:
			all = h
		default:
			all.Merge(h)
		}
	}
	return all
}
