package main

import (
	"bytes"
	"fmt"
	"image/color"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// drawAll writes the plots into the folder.
func drawAll(folder string, servers []measured) error {
	for k, m := range servers {
		path := func(name string) string { return filepath.Join(folder, plotName(k, name)) }
		var names []string
		var counts []float64
		for _, t := range m.Trips {
			names, counts = append(names, t.Name), append(counts, float64(t.Later))
		}
		connect := m.timing(newConnection, slowNetwork)
		var times []float64
		for _, name := range connect.Names {
			times = append(times, connect.Median(name)*1000)
		}
		for _, err := range []error{
			drawBars(path("trips"), m.name()+": round trips to a later connection of a pool", "round trips", "%.0f", names, counts),
			drawBars(path("connect"), m.name()+": milliseconds to a new connection, "+slowNetwork, "ms", "%.1f", connect.Names, times),
			drawLines(path("storm"), m.name()+": connections that are opened at once", "connections", "seconds until all are ready", true, m.Storms),
			drawLines(path("workers"), m.name()+": SELECT 1 from many workers", "workers", "queries a second", false, m.Rates),
			drawLost(path("lost"), m),
		} {
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// colors are the same in every plot: mysqlinit is blue, the plain driver red.
var colors = map[string]color.Color{
	ours:      color.RGBA{R: 31, G: 105, B: 180, A: 255},
	withGuard: color.RGBA{R: 23, G: 150, B: 140, A: 255},
	plain:     color.RGBA{R: 207, G: 70, B: 50, A: 255},
	variables: color.RGBA{R: 120, G: 120, B: 120, A: 255},
	twoSets:   color.RGBA{R: 225, G: 160, B: 40, A: 255},
}

func colorOf(name string) color.Color {
	if c, ok := colors[name]; ok {
		return c
	}
	if strings.HasPrefix(name, ours+",") {
		return color.RGBA{R: 140, G: 180, B: 222, A: 255}
	}
	return color.RGBA{R: 175, G: 175, B: 175, A: 255}
}

// drawLines writes a plot with a line for each contender, error bars and a logarithmic x
// axis.
func drawLines(path, title, xLabel, yLabel string, logY bool, g grown) error {
	p := newPlot(title, xLabel, yLabel)
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, doublings(g.Sizes)
	if logY {
		p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	} else {
		p.Y.Min, p.Y.Tick.Marker = 0, plainTicks{}
	}
	top := 0.0
	for _, name := range g.names() {
		points := make(plotter.XYs, len(g.Sizes))
		errs := make(plotter.YErrors, len(g.Sizes))
		for k, size := range g.Sizes {
			v := g.At[k].Estimate(name)
			points[k] = plotter.XY{X: float64(size), Y: v.Median}
			errs[k].Low, errs[k].High = v.Median-v.Low, v.High-v.Median
			top = max(top, v.High)
		}
		curve, dots, err := plotter.NewLinePoints(points)
		if err != nil {
			return err
		}
		curve.Color, dots.Color, dots.Shape = colorOf(name), colorOf(name), draw.CircleGlyph{}
		bars, err := plotter.NewYErrorBars(struct {
			plotter.XYs
			plotter.YErrors
		}{points, errs})
		if err != nil {
			return err
		}
		bars.Color = colorOf(name)
		p.Add(curve, dots, bars)
		p.Legend.Add(name, curve, dots)
	}
	if !logY {
		p.Y.Max = 1.3 * top // for the legend
	}
	return save(p, path, 5*vg.Inch)
}

// drawBars writes a plot of one bar for each name. The first is drawn on top.
func drawBars(path, title, xLabel, format string, names []string, values []float64) error {
	p := newPlot(title, xLabel, "")
	names, values = slices.Clone(names), slices.Clone(values)
	slices.Reverse(names)
	slices.Reverse(values)
	numbers := plotter.XYLabels{Labels: make([]string, len(names)), XYs: make(plotter.XYs, len(names))}
	for i, name := range names {
		bar, err := plotter.NewBarChart(plotter.Values{values[i]}, vg.Points(13))
		if err != nil {
			return err
		}
		bar.Horizontal, bar.XMin, bar.Color, bar.LineStyle.Width = true, float64(i), colorOf(name), 0
		p.Add(bar)
		numbers.Labels[i], numbers.XYs[i] = fmt.Sprintf(format, values[i]), plotter.XY{X: values[i], Y: float64(i)}
	}
	labels, err := plotter.NewLabels(numbers)
	if err != nil {
		return err
	}
	for i := range labels.TextStyle {
		labels.TextStyle[i].YAlign = text.YCenter
	}
	labels.Offset.X = vg.Points(4)
	p.Add(labels)
	p.NominalY(names...)
	p.X.Min, p.X.Max, p.X.Tick.Marker = 0, 1.1*slices.Max(values), plainTicks{}
	p.Y.Min, p.Y.Max = -0.5, float64(len(names))-0.5 // the outer bars are not cut off
	// The padding leaves room for labels if a viewer's font is wider than the measured one.
	p.Y.Padding = vg.Points(40)
	return save(p, path, vg.Points(float64(70+22*len(names))))
}

// drawLost writes a plot of the transactions that were lost with hot keys: for each number
// of workers a bar for each contender, and a dot for each run.
func drawLost(path string, m measured) error {
	p := newPlot("Transactions lost out of 10,000: get or create under load, "+m.name(), "workers that get or create the same new rows at once", "ended with an error, out of 10,000")
	p.Y.Tick.Marker = plainTicks{}
	const half, gap = 0.17, 0.19 // of a bar's width, and from the group's middle to the bar's
	levels := map[string]string{plain: " (REPEATABLE READ, the server's default)", ours: " (READ COMMITTED)"}
	var workers []string
	var numbers plotter.XYLabels
	var numberColors []color.Color
	var dots plotter.XYs
	top := 0.0
	for _, r := range m.races(true) {
		lost, group := r.of(fate.lost), float64(len(workers))
		for i, name := range r.Names {
			x, median, runs := group+gap*float64(2*i-1), lost.Median(name), lost.Of(name)
			bar, err := plotter.NewPolygon(plotter.XYs{{X: x - half, Y: 0}, {X: x - half, Y: median}, {X: x + half, Y: median}, {X: x + half, Y: 0}})
			if err != nil {
				return err
			}
			bar.Color, bar.LineStyle.Width = colorOf(name), 0
			p.Add(bar)
			if group == 0 {
				p.Legend.Add(name+levels[name], bar)
			}
			for k, v := range runs {
				dots = append(dots, plotter.XY{X: x + half*(2*(float64(k)+0.5)/float64(len(runs))-1), Y: v})
			}
			numbers.Labels = append(numbers.Labels, fmt.Sprintf("%.0f", median))
			numbers.XYs = append(numbers.XYs, plotter.XY{X: x, Y: slices.Max(runs)})
			numberColors = append(numberColors, colorOf(name))
			top = max(top, slices.Max(runs))
		}
		workers = append(workers, fmt.Sprint(r.Workers))
	}
	runs, err := plotter.NewScatter(dots)
	if err != nil {
		return err
	}
	runs.GlyphStyle = draw.GlyphStyle{Color: color.Gray{Y: 40}, Radius: vg.Points(1.5), Shape: draw.CircleGlyph{}}
	labels, err := plotter.NewLabels(numbers)
	if err != nil {
		return err
	}
	for i := range labels.TextStyle {
		labels.TextStyle[i].XAlign, labels.TextStyle[i].Color, labels.TextStyle[i].Font.Size = text.XCenter, numberColors[i], font.Points(12)
	}
	labels.Offset.Y = vg.Points(5)
	p.Add(runs, labels)
	p.Legend.Add("a dot is one run; bar and number are their median", runs)
	p.NominalX(workers...)
	p.X.Min, p.X.Max = -0.5, float64(len(workers))-0.5
	p.Y.Min, p.Y.Max = 0, 1.4*max(top, 10) // for the legend
	return save(p, path, 4.5*vg.Inch)
}

func newPlot(title, xLabel, yLabel string) *plot.Plot {
	plot.DefaultFont.Variant, plotter.DefaultFont.Variant = "Sans", "Sans"
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, xLabel, yLabel
	p.Title.TextStyle.Font.Size = font.Points(13)
	p.BackgroundColor = color.White // for dark pages too
	p.Title.Padding = vg.Points(6)
	p.Legend.Top, p.Legend.Left, p.Legend.Padding = true, true, vg.Points(2)
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = color.Gray{Y: 225}, color.Gray{Y: 225}
	p.Add(grid)
	return p
}

func save(p *plot.Plot, path string, height vg.Length) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	canvas := vgsvg.NewWith(vgsvg.UseWH(8*vg.Inch, height))
	const margin = 12
	p.Draw(draw.Crop(draw.New(canvas), margin, -2*margin, margin, -margin))
	var svg bytes.Buffer
	if _, err := canvas.WriteTo(&svg); err != nil {
		return err
	}
	// The font is not embedded, which would take half a megabyte. Viewers that lack it
	// have one of the same width.
	text := strings.ReplaceAll(svg.String(), "font-family:Liberation Sans;", "font-family:Liberation Sans,Arial,Helvetica,sans-serif;")
	return os.WriteFile(path, []byte(text), 0o644)
}

// doublings marks the sizes that were measured.
func doublings(sizes []int) plot.ConstantTicks {
	var ticks plot.ConstantTicks
	for _, x := range sizes {
		ticks = append(ticks, plot.Tick{Value: float64(x), Label: fmt.Sprint(x)})
	}
	return ticks
}

// plainTicks labels a tick 5000 that plot.DefaultTicks would label 5000.00.
type plainTicks struct{ plot.DefaultTicks }

func (t plainTicks) Ticks(low, high float64) []plot.Tick {
	ticks := t.DefaultTicks.Ticks(low, high)
	for i := range ticks {
		if ticks[i].Label != "" {
			ticks[i].Label = strconv.FormatFloat(ticks[i].Value, 'f', -1, 64)
		}
	}
	return ticks
}
