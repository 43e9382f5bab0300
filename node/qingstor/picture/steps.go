package picture

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"math"
)

// step is one operation on pixels.
type step interface {
	// apply does it. The source may be changed, and be part of the result.
	apply(context.Context, image.Image) (image.Image, error)
}

// sizer is a step whose result may have another size, which is told here so that
// an action can be judged before anything is decoded.
type sizer interface {
	size(image.Point) (image.Point, error)
}

type gravity int

// The places that crop keeps, by their numbers on the wire.
const (
	gravityCenter gravity = iota
	gravityNorth
	gravityEast
	gravitySouth
	gravityWest
	gravityNorthWest
	gravityNorthEast
	gravitySouthWest
	gravitySouthEast
	gravityAuto // where the service finds something of interest; here the center
)

// crop keeps a rectangle: at a place, or by gravity. A side that is not given is
// as long as the picture allows, and so is one that is longer.
type crop struct {
	width, height int
	placed        bool
	left, top     int
	gravity       gravity
}

func (c crop) rect(whole image.Point) (image.Rectangle, error) {
	at := image.Pt(c.left, c.top)
	if at.X >= whole.X || at.Y >= whole.Y {
		return image.Rectangle{}, fmt.Errorf("%w: crop begins outside of the picture", ErrAction)
	}
	keep := whole.Sub(at)
	if c.width > 0 {
		keep.X = min(c.width, keep.X)
	}
	if c.height > 0 {
		keep.Y = min(c.height, keep.Y)
	}
	if !c.placed {
		at = c.gravity.place(keep, whole)
	}
	return image.Rectangle{at, at.Add(keep)}, nil
}

// place is where a part of a size is within the whole.
func (g gravity) place(part, whole image.Point) image.Point {
	room := whole.Sub(part)
	at := room.Div(2)
	switch g {
	case gravityWest, gravityNorthWest, gravitySouthWest:
		at.X = 0
	case gravityEast, gravityNorthEast, gravitySouthEast:
		at.X = room.X
	}
	switch g {
	case gravityNorth, gravityNorthWest, gravityNorthEast:
		at.Y = 0
	case gravitySouth, gravitySouthWest, gravitySouthEast:
		at.Y = room.Y
	}
	return at
}

func (c crop) size(whole image.Point) (image.Point, error) {
	r, err := c.rect(whole)
	return r.Size(), err
}

func (c crop) apply(_ context.Context, m image.Image) (image.Image, error) {
	r, err := c.rect(m.Bounds().Size())
	if err != nil {
		return nil, err
	}
	// A copy, for the encoder of TIFF panics at parts of pictures.
	return copied(m, r.Add(m.Bounds().Min)), nil
}

// turn is how a picture stands, by the numbers of Exif. Applied, it is upright.
type turn int

const (
	upright    turn = 1
	upsideDown turn = 3
	turnRight  turn = 6 // to be turned by 90 degrees clockwise
	turnLeft   turn = 8
)

func (t turn) swaps() bool { return t >= 5 }

func (t turn) size(s image.Point) (image.Point, error) {
	if t.swaps() {
		s.X, s.Y = s.Y, s.X
	}
	return s, nil
}

func (t turn) apply(ctx context.Context, m image.Image) (image.Image, error) {
	if t == upright {
		return m, nil
	}
	from := m.Bounds()
	w, h := from.Dx(), from.Dy()
	size, _ := t.size(from.Size())
	turned := image.NewRGBA(image.Rectangle{Max: size})
	err := eachRow(ctx, m, func(y int, row []uint8) {
		for x := range w {
			to := turned.PixOffset(t.place(x, y, w, h))
			copy(turned.Pix[to:to+4], row[4*x:])
		}
	})
	return turned, err
}

// eachRow hands on the rows of a picture, from the top, as premultiplied RGBA.
func eachRow(ctx context.Context, m image.Image, do func(y int, row []uint8)) error {
	b := m.Bounds()
	line := image.NewRGBA(image.Rect(0, 0, b.Dx(), 1))
	for y := range b.Dy() {
		if err := ctx.Err(); err != nil {
			return err
		}
		draw.Draw(line, line.Rect, m, b.Min.Add(image.Pt(0, y)), draw.Src)
		do(y, line.Pix)
	}
	return nil
}

// place is where the pixel at x, y of a picture of w by h comes to be.
func (t turn) place(x, y, w, h int) (int, int) {
	switch t {
	case 2, upsideDown, 7, turnLeft:
		x = w - 1 - x
	}
	switch t {
	case upsideDown, 4, turnRight, 7:
		y = h - 1 - y
	}
	if t.swaps() {
		return y, x
	}
	return x, y
}

type resizeMode int

// How resize makes a picture of other proportions fit, by the numbers on the
// wire. The documentation calls them "fixed width and height, thumbnail and
// fill", "adjusted to width and height" and "thumbnail of proportion 4:4".
const (
	resizePad     resizeMode = iota // all of it, the rest of the result empty
	resizeStretch                   // all of it, out of proportion
	resizeCover                     // in proportion, what is too much cut off on both sides
)

// resize makes a picture larger or smaller. A side that is not given follows
// from the other; without either the picture stays as it is.
type resize struct {
	width, height int
	mode          resizeMode
}

func (r resize) size(from image.Point) (image.Point, error) {
	switch {
	case r.width == 0 && r.height == 0:
		return from, nil
	case r.width == 0:
		return image.Pt(share(from.X, r.height, from.Y), r.height), nil
	case r.height == 0:
		return image.Pt(r.width, share(from.Y, r.width, from.X)), nil
	}
	return image.Pt(r.width, r.height), nil
}

// share is n*of/whole, rounded, and at least 1.
func share(n, of, whole int) int {
	return max(1, int(math.Round(float64(n)*float64(of)/float64(whole))))
}

func (r resize) apply(ctx context.Context, m image.Image) (image.Image, error) {
	from := m.Bounds().Size()
	to, _ := r.size(from)
	switch inside := fit(from, to); {
	case to == from:
		return m, nil
	case r.mode == resizeStretch, inside == to:
		return scale(ctx, m, m.Bounds(), to)
	case r.mode == resizeCover:
		keep := fit(to, from)
		at := m.Bounds().Min.Add(gravityCenter.place(keep, from))
		return scale(ctx, m, image.Rectangle{at, at.Add(keep)}, to)
	default:
		scaled, err := scale(ctx, m, m.Bounds(), inside)
		if err != nil {
			return nil, err
		}
		padded := image.NewRGBA(image.Rectangle{Max: to})
		if scaled.Opaque() {
			draw.Draw(padded, padded.Rect, image.NewUniform(color.Black), image.Point{}, draw.Src)
		}
		at := gravityCenter.place(inside, to)
		draw.Draw(padded, scaled.Rect.Add(at), scaled, image.Point{}, draw.Src)
		return padded, nil
	}
}

// fit is the largest size within a frame that has the proportions of from.
func fit(from, frame image.Point) image.Point {
	if from.X*frame.Y >= from.Y*frame.X {
		return image.Pt(frame.X, min(frame.Y, share(from.Y, frame.X, from.X)))
	}
	return image.Pt(min(frame.X, share(from.X, frame.Y, from.Y)), frame.Y)
}
