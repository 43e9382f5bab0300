package picture

import (
	"context"
	"image"
	"image/draw"
	"math"
)

// taps are what one row or column of a result is made of: a run of the source's
// and how much each counts.
type taps struct {
	first   int
	weights []float32
}

// triangle spreads from rows of a source over to rows of a result. A result row
// is the mean of the source rows under a triangle around it, two of its own
// rows wide, or two of the source's if those are larger.
func triangle(from, to int) []taps {
	rows, ratio := make([]taps, to), float64(from)/float64(to)
	support := max(1, ratio)
	for i := range rows {
		center := (float64(i) + 0.5) * ratio
		first := max(0, int(math.Ceil(center-support-0.5)))
		last := min(from-1, int(math.Floor(center+support-0.5)))
		weights, sum := make([]float32, last-first+1), 0.0
		for j := range weights {
			w := max(0, support-math.Abs(float64(first+j)+0.5-center))
			weights[j], sum = float32(w), sum+w
		}
		for j := range weights {
			weights[j] /= float32(sum)
		}
		rows[i] = taps{first, weights}
	}
	return rows
}

// scale stretches a part of a picture to a size. Besides the result it holds only the few
// rows of the source that a row of the result is made of.
func scale(ctx context.Context, m image.Image, from image.Rectangle, size image.Point) (*image.RGBA, error) {
	scaled := image.NewRGBA(image.Rectangle{Max: size})
	across, down := triangle(from.Dx(), size.X), triangle(from.Dy(), size.Y)
	held := 0
	for _, t := range down {
		held = max(held, len(t.weights))
	}
	// Rows of the source, scaled across: row y is at y modulo held.
	rows, have := make([][]float32, held), make([]int, held)
	for i := range rows {
		rows[i], have[i] = make([]float32, 4*size.X), -1
	}
	line, sum := image.NewRGBA(image.Rect(0, 0, from.Dx(), 1)), make([]float32, 4*size.X)
	for y, t := range down {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		clear(sum)
		for i, weight := range t.weights {
			at := t.first + i
			row := rows[at%held]
			if have[at%held] != at {
				have[at%held] = at
				draw.Draw(line, line.Rect, m, from.Min.Add(image.Pt(0, at)), draw.Src)
				gather(row, line.Pix, across)
			}
			for x, v := range row {
				sum[x] += weight * v
			}
		}
		out := scaled.Pix[y*scaled.Stride:]
		for x, v := range sum {
			out[x] = uint8(min(v+0.5, 255))
		}
	}
	return scaled, nil
}

// gather scales one row of premultiplied RGBA across.
func gather(to []float32, from []uint8, across []taps) {
	for x, t := range across {
		var r, g, b, a float32
		for i, w := range t.weights {
			p := from[4*(t.first+i):][:4]
			r, g, b, a = r+w*float32(p[0]), g+w*float32(p[1]), b+w*float32(p[2]), a+w*float32(p[3])
		}
		to[4*x], to[4*x+1], to[4*x+2], to[4*x+3] = r, g, b, a
	}
}
