package picture

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"strings"

	"golang.org/x/image/tiff"
	"golang.org/x/image/webp"
)

// Format is a way to write a picture down, by its name on the wire.
type Format string

// The formats that can be read.
const (
	JPEG Format = "jpeg"
	PNG  Format = "png"
	GIF  Format = "gif" // the first picture of several
	TIFF Format = "tiff"
	WebP Format = "webp"
)

// codec is what is known of a format. DecodeConfig and decode are the two
// halves of the same package's reader, which reads sizes once: those that were
// judged are those that memory is taken for.
type codec struct {
	magic  string // "?" is any byte
	config func(io.Reader) (image.Config, error)
	decode func(io.Reader) (image.Image, error)
}

var codecs = map[Format]codec{
	JPEG: {"\xff\xd8", jpeg.DecodeConfig, jpeg.Decode},
	PNG:  {"\x89PNG\r\n\x1a\n", png.DecodeConfig, png.Decode},
	GIF:  {"GIF8?a", gif.DecodeConfig, gif.Decode},
	TIFF: {"", tiff.DecodeConfig, tiff.Decode},
	WebP: {"RIFF????WEBPVP8", webp.DecodeConfig, webp.Decode},
}

// source is a picture of which only the header has been read.
type source struct {
	format Format
	bytes  []byte
	config image.Config
	tags   tags
}

// open reads the header of a picture.
func open(b []byte) (source, error) {
	s := source{bytes: b}
	for format, c := range codecs {
		if hasMagic(b, c.magic) || format == TIFF && (hasMagic(b, "II*\x00") || hasMagic(b, "MM\x00*")) {
			s.format = format
		}
	}
	if s.format == "" {
		return s, fmt.Errorf("%w: it is neither JPEG, PNG, GIF, TIFF nor WebP", ErrUnreadable)
	}
	var err error
	s.config, err = codecs[s.format].config(bytes.NewReader(b))
	if err != nil || s.config.Width <= 0 || s.config.Height <= 0 {
		return s, fmt.Errorf("%w: the header of the %s is damaged or not supported", ErrUnreadable, s.format)
	}
	s.tags = exifOf(s.format, b)
	return s, nil
}

func hasMagic(b []byte, magic string) bool {
	if magic == "" || len(b) < len(magic) {
		return false
	}
	for i := range len(magic) {
		if magic[i] != '?' && magic[i] != b[i] {
			return false
		}
	}
	return true
}

func (s source) size() image.Point { return image.Pt(s.config.Width, s.config.Height) }

// cost is how many bytes of memory decoding takes at most.
func (s source) cost() int64 {
	pixels := int64(s.config.Width) * int64(s.config.Height)
	switch s.format {
	case JPEG:
		return pixels * jpegBytes(s.bytes)
	case PNG:
		const interlace = 28 // where the header says so
		if len(s.bytes) > interlace && s.bytes[interlace] != 0 {
			return 2 * pixels * pixelBytes(s.config.ColorModel)
		}
		return pixels * pixelBytes(s.config.ColorModel)
	case GIF:
		return pixels * 5 // the frame, and the canvas it may be part of
	case TIFF:
		// A strip or tile is unpacked as a whole, to 8 bytes for a pixel at
		// most, into a buffer that doubles.
		return pixels*pixelBytes(s.config.ColorModel) + 24*s.block()
	default:
		return pixels * 12 // lossless: what it is predicted from, and itself
	}
}

// jpegBytes is how many bytes a pixel takes: its samples, and of a progressive
// picture the four-byte coefficients of each.
func jpegBytes(b []byte) int64 {
	for marker, segment := range segments(b) {
		if marker < markerSOF0 || marker > markerSOF2 || len(segment) < 6 {
			continue
		}
		samples := int64(segment[5])
		held := samples
		if samples == 4 {
			held = 8 // CMYK is put together of what was decoded
		}
		if marker == markerSOF2 {
			held += 4 * samples
		}
		return held
	}
	return 20
}

func pixelBytes(m color.Model) int64 {
	if _, ok := m.(color.Palette); ok {
		return 1
	}
	switch m {
	case color.GrayModel:
		return 1
	case color.Gray16Model:
		return 2
	case color.RGBA64Model, color.NRGBA64Model:
		return 8
	}
	return 4
}

// block is how many pixels a strip or tile of a TIFF has.
func (s source) block() int64 {
	w, h := int64(s.config.Width), int64(s.config.Height)
	if tile, _ := s.tags.number(tagTileWidth); tile != 0 {
		rows, _ := s.tags.number(tagTileLength)
		// The decoder refuses tiles that are larger than these and the picture.
		return min(int64(tile), max(w+16, 1024)) * min(int64(rows), max(h+16, 1024))
	}
	if rows, _ := s.tags.number(tagRowsPerStrip); rows != 0 {
		h = min(h, int64(rows))
	}
	return w * h
}

// decode reads the pixels.
func (s source) decode(ctx context.Context) (image.Image, error) {
	m, err := codecs[s.format].decode(stoppable{bytes.NewReader(s.bytes), ctx.Err})
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	whole := image.Rectangle{Max: s.size()}
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: the %s is damaged or not supported", ErrUnreadable, s.format)
	case m.Bounds() == whole:
		return m, nil
	case s.format != GIF:
		return nil, fmt.Errorf("%w: the %s has not the size its header says", ErrUnreadable, s.format)
	}
	canvas := image.NewRGBA(whole)
	draw.Draw(canvas, m.Bounds(), m, m.Bounds().Min, draw.Src)
	return canvas, nil
}

// stoppable is bytes to decode until stopped says why not.
type stoppable struct {
	*bytes.Reader
	stopped func() error
}

func (r stoppable) Read(p []byte) (int, error) {
	if err := r.stopped(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

// Info describes a picture as the operation info does. The texts are of Exif,
// and empty without it.
type Info struct {
	Width       int    `json:"width"`
	Height      int    `json:"height"`
	Orientation int    `json:"orientation,omitempty"`
	Alpha       bool   `json:"alpha"`
	Type        Format `json:"type"`
	Space       string `json:"space"`

	Make         string `json:"make,omitempty"`
	Model        string `json:"model,omitempty"`
	DateTime     string `json:"datetime,omitempty"`
	ExifVersion  string `json:"exifversion,omitempty"`
	FocalLength  string `json:"focallength,omitempty"`
	LatitudeRef  string `json:"gpslatituderef,omitempty"`
	Latitude     string `json:"gpslatitude,omitempty"`
	LongitudeRef string `json:"gpslongituderef,omitempty"`
	Longitude    string `json:"gpslongitude,omitempty"`
	AltitudeRef  string `json:"gpsaltituderef,omitempty"`
	Altitude     string `json:"gpsaltitude,omitempty"`
}

// info describes the picture as it is.
func (s source) info() Info {
	t := s.tags
	i := Info{
		Width: s.config.Width, Height: s.config.Height, Type: s.format, Space: "srgb", Alpha: s.alpha(),
		Make: t.text(tagMake), Model: t.text(tagModel), DateTime: t.text(tagDateTime), FocalLength: t.text(tagFocalLength),
		LatitudeRef: t.text(gpsBase + 1), Latitude: t.text(gpsBase + 2), LongitudeRef: t.text(gpsBase + 3),
		Longitude: t.text(gpsBase + 4), Altitude: t.text(gpsBase + 6),
	}
	if _, ok := t[tagOrientation]; ok {
		i.Orientation = int(t.turn())
	}
	if v := t[tagExifVersion]; v.kind == 7 && len(v.bytes) == 4 { // as in 0221
		i.ExifVersion = strings.ToValidUTF8(fmt.Sprintf("Exif Version %s.%s", bytes.TrimLeft(v.bytes[:2], "0"), v.bytes[2:]), "?")
	}
	switch n, ok := t.number(gpsBase + 5); {
	case ok && n == 0:
		i.AltitudeRef = "Sea level"
	case ok && n == 1:
		i.AltitudeRef = "Sea level reference"
	}
	switch s.config.ColorModel {
	case color.GrayModel, color.Gray16Model:
		i.Space = "b-w"
	case color.CMYKModel:
		i.Space = "cmyk"
	}
	return i
}

// alpha reports whether pixels may be transparent.
func (s source) alpha() bool {
	switch m := s.config.ColorModel.(type) {
	case color.Palette:
		for _, c := range m {
			if _, _, _, a := c.RGBA(); a != 0xffff {
				return true
			}
		}
		return false
	default:
		// A model that can hold a transparent color keeps it.
		if s.format == PNG {
			const colorType = 25
			return len(s.bytes) > colorType && s.bytes[colorType]&4 != 0
		}
		if s.format == WebP && len(s.bytes) > 20 && string(s.bytes[12:16]) == "VP8X" {
			return s.bytes[20]&0x10 != 0
		}
		_, _, _, a := m.Convert(color.Transparent).RGBA()
		return a == 0
	}
}
