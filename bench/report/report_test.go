package report

import (
	"bytes"
	"context"
	"image"
	"image/color"
	_ "image/png"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"fanfare/bench/fleet"
	"fanfare/bench/proc"
	"fanfare/bench/scenario"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// example is a run of three servers, two scenarios and two rounds with everything that a report can contain. echo has one
// number of connections only, and so bars where the others have lines.
func example(t *testing.T, connections ...int) *Run {
	t.Helper()
	r := &Run{
		Began: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC), Took: 60, Others: 0.7, Rounds: 2, Baseline: "gorilla-classic",
		Command: []string{"fanfare-bench", "run"},
		Machine: proc.Machine{Kernel: "Linux 6.1", CPU: "Abacus", Cores: 2, Memory: 4 << 30, Go: "go1.26", Files: 20000, Load: "0.1 0.2 0.3",
			Sysctl: map[string]string{"net.core.somaxconn": "4096"}},
		Servers: []Server{{"fanfare-epoll", "fanfare", ""}, {"gorilla-classic", "the baseline", "v1.5.3"}, {"mine", "one of the user's own", ""}},
	}
	h := hdrhistogram.New(1000, 100e9, 3)
	for i := range int64(10_000) {
		h.RecordValue(100_000 + i*i)
	}
	latency, err := fleet.Pack(h)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range r.Servers {
		for round := range 2 {
			size := float64(i + 1)
			for _, n := range connections {
				r.Samples = append(r.Samples,
					scenario.Sample{Scenario: "idle", Case: scenario.Case{Connections: n}, Server: s.Name, Round: round,
						Values: map[string]float64{"rss_kib": size * 10 * float64(1+round), "rss_mib": size * float64(n) / 100, scenario.Others: 0.01}})
			}
			r.Samples = append(r.Samples,
				scenario.Sample{Scenario: "echo", Case: scenario.Case{Connections: connections[0], Size: 128, Depth: 1}, Server: s.Name, Round: round, Latency: latency,
					Values: map[string]float64{"rate": 123456.7 / size, "server_us": 2 * size, scenario.ClientBound: 0.9 + 0.03*size, scenario.Others: 0.3}})
		}
	}
	r.Samples[len(r.Samples)-1].Values, r.Samples[len(r.Samples)-1].Error = nil, "1 lost\nthe server's log ends with: oh <b>no</b>"
	r.Samples = append(r.Samples, scenario.Sample{Scenario: "connect", Case: scenario.Case{Connections: connections[0]}, Server: "mine", Skipped: "it needs more descriptors"})
	return r
}

func TestText(t *testing.T) {
	var b bytes.Buffer
	r := example(t, 1000)
	r.Cut = "interrupted"
	r.WriteText(&b)
	const want = `Linux 6.1, 2 × Abacus, 4.0 GiB, go1.26
2030-01-02T03:04:05Z, load 0.1 0.2 0.3, 20000 descriptors per process
somaxconn 4096
gorilla-classic v1.5.3
WARNING: other programs use 0.7 of 2 cores, which disturbs the measurement
2 rounds, servers in random order in each; medians; ± is half the distance between the extremes; × is the ratio,
round by round, with its 95 % interval; it is undecided when the interval includes 1

idle, 1,000 connections: what an idle connection costs; each has its own user, and a heartbeat where the server has one
                   RSS each       × gorilla-classic   RSS
  server                KiB    ±               95 %   MiB
  fanfare-epoll       15.00  33%   0.50 (0.50–0.50)  10.0
  gorilla-classic     30.00  33%                  1  20.0
  mine                45.00  33%   1.50 (1.50–1.50)  30.0

connect, 1,000 connections: as many handshakes as possible, a fixed number of them pending
          handshakes
  server         1/s  ±
  mine             –
  mine is left out: it needs more descriptors

echo, 1,000 connections, 128 bytes: the server echoes messages; some connections are active among many idle ones
                    echoes                × gorilla-classic  server CPU
  server               1/s   ±                         95 %          µs
  fanfare-epoll    123,457  0%             2.00 (2.00–2.00)        2.00  other programs used up to 0.3 cores
  gorilla-classic   61,728  0%                            1        4.00  client at its limit in 2 of 2; other programs used up to 0.3 cores
  mine              41,152      0.67 (undecided: one round)        6.00  client at its limit in 1 of 1; other programs used up to 0.3 cores
  mine failed in round 2: 1 lost
    the server's log ends with: oh <b>no</b>

Other programs used more than 0.1 cores in 5 of 11 measurements; on an idle machine fewer differences are undecided.
This run was cut short: interrupted.
11 measurements took 1m0s.
`
	if got := b.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestJSONRoundTrip(t *testing.T) {
	var first, text, again bytes.Buffer
	r := example(t, 10, 100)
	if err := r.WriteJSON(&first); err != nil {
		t.Fatal(err)
	}
	back, err := ReadJSON(bytes.NewReader(first.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	r.WriteText(&text)
	back.WriteText(&again)
	if text.String() != again.String() {
		t.Errorf("before\n%s\nafter\n%s", &text, &again)
	}
	if _, err := ReadJSON(strings.NewReader("{")); err == nil {
		t.Error("no error for half an object")
	}
}

func TestFailed(t *testing.T) {
	r := example(t, 10)
	if !r.Failed() {
		t.Error("a failed sample is not seen")
	}
	r.Samples = r.Samples[:1]
	if r.Failed() {
		t.Error("nothing failed")
	}
}

// TestUndecided checks what the tables and charts say of differences inside and outside of the noise.
func TestUndecided(t *testing.T) {
	of := func(fanfare, baseline []float64) *Run {
		r := &Run{Baseline: "gorilla-classic", Servers: []Server{{Name: "fanfare-epoll"}, {Name: "gorilla-classic"}}}
		for i, values := range [][]float64{fanfare, baseline} {
			for round, v := range values {
				r.Samples = append(r.Samples, scenario.Sample{Scenario: "echo", Case: scenario.Case{Connections: 10, Size: 64, Depth: 1},
					Server: r.Servers[i].Name, Round: round, Values: map[string]float64{"rate": v}})
			}
		}
		return r
	}
	for _, tt := range []struct {
		name              string
		fanfare, baseline []float64
		undecided         bool
	}{
		{"clear", []float64{200, 210, 190}, []float64{100, 100, 100}, false},
		{"inside the noise", []float64{105, 95, 110}, []float64{100, 100, 100}, true},
		{"one round", []float64{200}, []float64{100}, true},
		{"two rounds that differ", []float64{110, 300}, []float64{100, 100}, true},
		{"always equal", []float64{100, 100, 100}, []float64{100, 100, 100}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := of(tt.fanfare, tt.baseline)
			var table strings.Builder
			r.WriteScenario(&table, "echo")
			if got := strings.Contains(table.String(), "undecided"); got != tt.undecided {
				t.Errorf("the table says undecided: %t\n%s", got, &table)
			}
			page := strings.Replace(rendered(t, r), echarts, "", 1)
			if got := strings.Contains(page, ", undecided"); got != tt.undecided {
				t.Errorf("the chart says undecided: %t", got)
			}
			if bars := strings.Count(page, `"coord"`); bars != 4 {
				t.Errorf("%d ends of error bars, want two for each of two servers", bars)
			}
		})
	}
}

func TestColors(t *testing.T) {
	r := &Run{Servers: []Server{{Name: "a"}, {Name: "floor1"}, {Name: "b"}}}
	if a, b := r.color("a"), r.color("b"); a == b || a == "" || b == "" {
		t.Errorf("%q and %q", a, b)
	}
}

func TestHTMLNeedsNothing(t *testing.T) {
	page := rendered(t, example(t, 100, 1000))
	// The script itself names the namespaces of SVG and the addresses of its licence.
	page = strings.Replace(page, echarts, "", 1)
	if found := regexp.MustCompile(`(src|href|url)\s*[=(]\s*["']?(https?:)?//[^"')]*|@import`).FindString(page); found != "" {
		t.Errorf("the page asks for %s", found)
	}
	if strings.Contains(page, "<b>no</b>") {
		t.Error("an error message is not escaped")
	}
}

func rendered(t *testing.T, r *Run) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestHTMLInBrowser loads the page in a real browser: no script fails, every chart is drawn, and the lines of the
// servers are visible.
func TestHTMLInBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	browser := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			browser = path
			break
		}
	}
	if browser == "" {
		t.Skip("no Chromium here")
	}
	dir := t.TempDir()
	file, shot := filepath.Join(dir, "page.html"), filepath.Join(dir, "page.png")
	page := rendered(t, example(t, 100, 1000, 9000))
	if err := os.WriteFile(file, []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(query string, args ...string) (stdout, stderr string) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		args = append([]string{"--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1280,1800",
			"--user-data-dir=" + filepath.Join(dir, "profile"), "--virtual-time-budget=3000"}, append(args, "file://"+file+query)...)
		cmd := exec.CommandContext(ctx, browser, args...)
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		if err := cmd.Run(); err != nil {
			t.Fatalf("%v: %s", err, &errs)
		}
		return out.String(), errs.String()
	}
	dom, log := run("", "--enable-logging=stderr", "--dump-dom")
	for line := range strings.Lines(log) {
		if strings.Contains(line, "CONSOLE") {
			t.Error(line)
		}
	}
	if charts, drawn := strings.Count(page, "echarts.init("), strings.Count(dom, "<svg"); charts == 0 || drawn != charts-strings.Count(echarts, "echarts.init(") {
		t.Errorf("%d of %d charts are drawn", drawn, charts)
	}
	if dom, _ := run("?only=chart2", "--dump-dom"); strings.Count(dom[strings.Index(dom, "<body"):], "<svg") != 1 {
		t.Error("?only=chart2 does not show one chart")
	}
	run("", "--screenshot="+shot)
	f, err := os.Open(shot)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, _, err := image.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	for server, c := range map[string]color.RGBA{"fanfare-epoll": {0xd9, 0x48, 0x0f, 255}, "gorilla-classic": {0x18, 0x64, 0xab, 255}, "mine": {0x0b, 0x72, 0x85, 255}} {
		if n := count(img, c); n < 300 {
			t.Errorf("%d points in the colour of %s", n, server)
		}
	}
}

func count(img image.Image, c color.RGBA) (n int) {
	b := img.Bounds()
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			if color.RGBAModel.Convert(img.At(x, y)) == c {
				n++
			}
		}
	}
	return n
}
