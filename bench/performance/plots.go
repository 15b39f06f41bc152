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
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// line is a curve of a plot, with an estimate for each point.
type line struct {
	name   string
	xs     []float64
	values []estimate
}

// drawLines writes a plot with error bars and a logarithmic x axis.
func drawLines(path, title, xLabel, yLabel string, logY bool, lines []line) error {
	p := newPlot(title, xLabel, yLabel)
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, doublings(lines[0].xs)
	if logY {
		p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	} else {
		p.Y.Min, p.Y.Tick.Marker = 0, plainTicks{}
	}
	top := 0.0
	for i, l := range lines {
		points := make(plotter.XYs, len(l.xs))
		errs := make(plotter.YErrors, len(l.xs))
		for k, v := range l.values {
			points[k] = plotter.XY{X: l.xs[k], Y: v.median}
			top = max(top, v.high)
			errs[k].Low, errs[k].High = v.median-v.low, v.high-v.median
		}
		curve, dots, err := plotter.NewLinePoints(points)
		if err != nil {
			return err
		}
		curve.Color, dots.Color, dots.Shape = colorOf(l.name, i), colorOf(l.name, i), draw.CircleGlyph{}
		bars, err := plotter.NewYErrorBars(struct {
			plotter.XYs
			plotter.YErrors
		}{points, errs})
		if err != nil {
			return err
		}
		bars.Color = colorOf(l.name, i)
		p.Add(curve, dots, bars)
		p.Legend.Add(l.name, curve, dots)
	}
	if !logY {
		p.Y.Max = 1.3 * top // for the legend
	}
	return save(p, path, 5*vg.Inch)
}

// colorOf returns the color of a curve. mysqlinit has the same one in every plot.
func colorOf(name string, i int) color.Color {
	if name == ours || strings.HasPrefix(name, ours+", READ COMMITTED") {
		return color.RGBA{R: 70, G: 130, B: 180, A: 255}
	}
	return plotutil.DarkColors[i%len(plotutil.DarkColors)]
}

// drawBars writes a plot of one bar for each name.
func drawBars(path, title, xLabel string, names []string, values []float64) error {
	p := newPlot(title, xLabel, "")
	bars, err := plotter.NewBarChart(plotter.Values(values), vg.Points(12))
	if err != nil {
		return err
	}
	bars.Horizontal, bars.Color, bars.LineStyle.Width = true, color.RGBA{R: 70, G: 130, B: 180, A: 255}, 0
	p.Add(bars)
	p.NominalY(names...)
	p.X.Min, p.X.Max, p.X.Tick.Marker = 0, 1.05*slices.Max(values), plainTicks{}
	p.Y.Min, p.Y.Max = -0.5, float64(len(names))-0.5 // the outer bars are not cut off
	// The padding leaves room for labels if a viewer's font is wider than the measured one.
	p.Y.Padding, p.Y.Tick.Label.Font.Size = vg.Points(40), vg.Points(9)
	return save(p, path, vg.Points(float64(60+22*len(names))))
}

func newPlot(title, xLabel, yLabel string) *plot.Plot {
	plot.DefaultFont.Variant = "Sans"
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, xLabel, yLabel
	p.BackgroundColor = color.White // for dark pages too
	p.Title.Padding = vg.Points(6)
	p.Legend.Top, p.Legend.Left, p.Legend.Padding = true, true, vg.Points(2)
	p.Add(plotter.NewGrid())
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
func doublings(xs []float64) plot.ConstantTicks {
	var ticks plot.ConstantTicks
	for _, x := range xs {
		ticks = append(ticks, plot.Tick{Value: x, Label: fmt.Sprint(x)})
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

// lines returns a curve for each contender.
func (g grown) lines() (all []line) {
	for i, name := range g.names {
		l := line{name: name}
		for k, size := range g.sizes {
			l.xs = append(l.xs, float64(size))
			l.values = append(l.values, g.values[k][i])
		}
		all = append(all, l)
	}
	return all
}
