package picture

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"math"
	"unicode"

	"github.com/hajimehoshi/bitmapfont/v3"
	"golang.org/x/image/font"
	"golang.org/x/image/math/fixed"
)

// lettering puts a text into the lower right corner, as far from the edges as
// it is high; the documentation does not say where. A text that does not fit
// into the picture is made smaller.
type lettering struct {
	text    string
	size    int // twips, twentieths of a point; a point is 4/3 pixels
	opacity float64
	color   color.NRGBA
}

// face has glyphs of 12 pixels for most scripts, and the simplified ones for
// what Chinese and Japanese write in different ways.
var face = bitmapfont.FaceSC

const (
	faceSize   = 12 // pixels
	faceAscent = 12
	faceHeight = 16
)

func (l lettering) apply(ctx context.Context, m image.Image) (image.Image, error) {
	mask, err := letters(l.text)
	if err != nil {
		return nil, err
	}
	onto := own(m)
	b := onto.Bounds()
	enlarge := func(pixels int) int { return share(pixels, l.size, 15*faceSize) }
	size := image.Pt(enlarge(mask.Rect.Dx()), enlarge(mask.Rect.Dy()))
	if size.X > b.Dx() || size.Y > b.Dy() {
		size = fit(size, b.Size())
	}
	scaled, err := scale(ctx, mask, mask.Rect, size)
	if err != nil {
		return nil, err
	}
	room := b.Size().Sub(size)
	at := b.Max.Sub(size).Sub(image.Pt(min(size.Y, room.X), min(size.Y, room.Y)))
	ink := l.color
	ink.A = alphaOf(l.opacity)
	draw.DrawMask(onto, image.Rectangle{at, at.Add(size)}, image.NewUniform(ink), image.Point{}, scaled, image.Point{}, draw.Over)
	return onto, nil
}

// letters draws a text of one line.
func letters(text string) (*image.Alpha, error) {
	mask := image.NewAlpha(image.Rect(0, 0, font.MeasureString(face, text).Ceil(), faceHeight))
	pen := font.Drawer{Dst: mask, Src: image.Opaque, Face: face, Dot: fixed.P(0, faceAscent)}
	for _, r := range text {
		bounds, glyph, at, _, ok := face.Glyph(pen.Dot, r)
		if !ok || unicode.IsControl(r) || !unicode.IsSpace(r) && blank(glyph, image.Rectangle{at, at.Add(bounds.Size())}) {
			return nil, fmt.Errorf("%w: there is no glyph for %q", ErrAction, r)
		}
		pen.DrawString(string(r))
	}
	return mask, nil
}

// blank reports whether nothing of a mask is set.
func blank(mask image.Image, within image.Rectangle) bool {
	for y := within.Min.Y; y < within.Max.Y; y++ {
		for x := within.Min.X; x < within.Max.X; x++ {
			if _, _, _, a := mask.At(x, y).RGBA(); a != 0 {
				return false
			}
		}
	}
	return true
}

// stamp puts another picture over one, as large as it is.
type stamp struct {
	url       string
	left, top int
	opacity   float64
	picture   source
}

func (s stamp) apply(ctx context.Context, m image.Image) (image.Image, error) {
	over, err := s.picture.decode(ctx)
	if err != nil {
		return nil, err
	}
	if over, err = s.picture.tags.turn().apply(ctx, over); err != nil {
		return nil, err
	}
	onto := own(m)
	at := onto.Bounds().Min.Add(image.Pt(s.left, s.top))
	mask := image.NewUniform(color.Alpha{alphaOf(s.opacity)})
	draw.DrawMask(onto, image.Rectangle{at, at.Add(over.Bounds().Size())}, over, over.Bounds().Min, mask, image.Point{}, draw.Over)
	return onto, nil
}

func alphaOf(opacity float64) uint8 { return uint8(math.Round(255 * opacity)) }

// own is a picture that can be drawn on: itself, or a copy.
func own(m image.Image) *image.RGBA {
	if m, ok := m.(*image.RGBA); ok {
		return m
	}
	return copied(m, m.Bounds())
}

func copied(m image.Image, part image.Rectangle) *image.RGBA {
	c := image.NewRGBA(image.Rectangle{Max: part.Size()})
	draw.Draw(c, c.Rect, m, part.Min, draw.Src)
	return c
}
