package picture

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/color/palette"
	"image/gif"
	"image/jpeg"
	"image/png"

	"golang.org/x/image/tiff"
)

// Limits bound what one call of Process takes. At most Decoded + 16*Pixels +
// 3*Result bytes are in use at a time, besides what it is given.
type Limits struct {
	Decoded int64 // bytes that reading the source and the stamps takes
	Pixels  int   // of what is made of the source
	Result  int   // bytes
}

// Result is what came of an action: a picture, or its description.
type Result struct {
	Type  string // as in Content-Type
	Bytes []byte
	Info  *Info // nil: a picture
}

// Process does an action to a picture. stamps are the bytes of those in
// a.Stamps. Exif goes lost with the first change, so the picture is first turned
// upright by it. Errors wrap ErrAction, ErrUnreadable or ErrTooLarge, or are
// those of ctx.
func Process(ctx context.Context, picture []byte, a Action, stamps [][]byte, l Limits) (Result, error) {
	s, err := open(picture)
	if err != nil {
		return Result{}, err
	}
	if len(a.steps) == 0 && a.format == "" {
		info := s.info()
		if a.info {
			return Result{Info: &info}, nil
		}
		return Result{Type: "image/" + string(s.format), Bytes: picture}, nil
	}
	steps, size, err := plan(s, a, stamps, l)
	if err != nil {
		return Result{}, err
	}
	format := a.format
	if format == "" {
		format = s.format
	}
	if a.info {
		i := s.info()
		return Result{Info: &Info{Width: size.X, Height: size.Y, Alpha: i.Alpha && format != JPEG, Type: format, Space: "srgb"}}, nil
	}
	m, err := s.decode(ctx)
	for _, step := range steps {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			m, err = step.apply(ctx, m)
		}
	}
	if err != nil {
		return Result{}, err
	}
	b := &boundedBuffer{most: l.Result, stopped: ctx.Err}
	if err := encode(ctx, b, m, format, s); err != nil {
		return Result{}, err
	}
	return Result{Type: "image/" + string(format), Bytes: b.Bytes()}, nil
}

// plan is the steps of an action for a picture, and the size of the result. It
// refuses what would go beyond the limits.
func plan(s source, a Action, stamps [][]byte, l Limits) (steps []step, size image.Point, err error) {
	if s.format == GIF {
		for _, step := range a.steps {
			if _, ok := step.(resize); !ok || a.format != "" {
				return nil, size, fmt.Errorf("%w: a GIF can only be resized", ErrAction)
			}
		}
	}
	cost := s.cost()
	if t := s.tags.turn(); t != upright {
		steps = append(steps, t)
	}
	steps = append(steps, a.steps...)
	for i := range steps {
		if st, ok := steps[i].(stamp); ok {
			if st.picture, err = open(stamps[0]); err != nil {
				return nil, size, fmt.Errorf("the watermark: %w", err)
			}
			cost += st.picture.cost()
			steps[i], stamps = st, stamps[1:]
		}
	}
	if cost > l.Decoded {
		return nil, size, fmt.Errorf("%w: reading it would take %d bytes of memory, of %d", ErrTooLarge, cost, l.Decoded)
	}
	size = s.size()
	for _, step := range steps {
		if sized, ok := step.(sizer); ok {
			if size, err = sized.size(size); err != nil {
				return nil, size, err
			}
		}
		if err := l.hold(size); err != nil {
			return nil, size, err
		}
	}
	return steps, size, l.hold(size)
}

func (l Limits) hold(size image.Point) error {
	if int64(size.X)*int64(size.Y) > int64(l.Pixels) {
		return fmt.Errorf("%w: %d x %d pixels, of %d in all", ErrTooLarge, size.X, size.Y, l.Pixels)
	}
	return nil
}

// boundedBuffer takes bytes until they are too many, or until stopped says why
// not.
type boundedBuffer struct {
	bytes.Buffer
	most    int
	stopped func() error
}

func (b *boundedBuffer) Write(p []byte) (int, error) {
	if err := b.stopped(); err != nil {
		return 0, err
	}
	if b.Len()+len(p) > b.most {
		return 0, fmt.Errorf("%w: the result has more than %d bytes", ErrTooLarge, b.most)
	}
	return b.Buffer.Write(p)
}

// encode writes a picture down.
func encode(ctx context.Context, w *boundedBuffer, m image.Image, f Format, from source) error {
	switch f {
	case JPEG:
		return jpeg.Encode(w, m, nil)
	case PNG:
		return png.Encode(w, m)
	case TIFF:
		return tiff.Encode(w, m, &tiff.Options{Compression: tiff.Deflate, Predictor: true})
	case WebP:
		if size := m.Bounds().Size(); max(size.X, size.Y) > maxWebPSide {
			return fmt.Errorf("%w: a WebP has at most %d pixels each way", ErrTooLarge, maxWebPSide)
		}
		return encodeWebP(ctx, w, m)
	default:
		colors, _ := from.config.ColorModel.(color.Palette)
		return gif.Encode(w, m, &gif.Options{NumColors: 256, Quantizer: samePalette(colors)})
	}
}

// samePalette keeps the colors a GIF had. Without any, its frames have their
// own, and it gets the usual ones and a transparent one.
type samePalette color.Palette

func (p samePalette) Quantize(to color.Palette, _ image.Image) color.Palette {
	if len(p) == 0 {
		return append(append(to, palette.Plan9[:255]...), color.Transparent)
	}
	return append(to, p...)
}
