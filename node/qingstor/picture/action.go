package picture

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"image/color"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// What is wrong with a request. The texts of errors that wrap one of these are
// fit for the client.
var (
	// ErrAction reports an action that is not well-formed, or cannot be done to
	// this picture.
	ErrAction = errors.New("bad action")
	// ErrUnreadable reports bytes that are no picture of a known format, or a
	// damaged one.
	ErrUnreadable = errors.New("no picture that can be read")
	// ErrTooLarge reports a picture that would take more than Limits allows.
	ErrTooLarge = errors.New("picture too large")
)

// Bounds of an action.
const (
	maxOperations = 10    // as the documentation of the Python SDK says
	maxSide       = 65535 // pixels; what JPEG can have
	maxText       = 1024  // bytes of a watermark
	maxTextSize   = 20000 // twips
)

// Action is what is to be done to a picture, in order.
type Action struct {
	steps  []step
	format Format // of the result; "" is that of the source
	info   bool   // the result is a description
	save   *Target
}

// Target is where a result is to be stored.
type Target struct{ Bucket, Key string }

// SaveTo is where the result is to be stored besides, nil if nowhere.
func (a Action) SaveTo() *Target { return a.save }

// Stamps are the URLs of the pictures that watermark_image puts in, in order.
func (a Action) Stamps() (urls []string) {
	for _, s := range a.steps {
		if st, ok := s.(stamp); ok {
			urls = append(urls, st.url)
		}
	}
	return urls
}

// Parse reads "operation:key_value,key_value|operation". A value that is empty
// counts as not given, as SDKs send it. info and save end the action: the one
// has no picture as its result, and after the other another one would be
// answered than was stored.
func Parse(text string) (a Action, err error) {
	operations := strings.Split(text, "|")
	if len(operations) > maxOperations {
		return a, fmt.Errorf("%w: more than %d operations", ErrAction, maxOperations)
	}
	for i, operation := range operations {
		name, rest, _ := strings.Cut(operation, ":")
		p, err := readParams(rest)
		if err == nil {
			err = a.add(name, p)
		}
		if err == nil {
			err = p.finish()
		}
		if err == nil && (a.info || a.save != nil) && i < len(operations)-1 {
			err = errors.New("nothing can follow")
		}
		if err != nil {
			return Action{}, fmt.Errorf("%w: %q: %w", ErrAction, name, err)
		}
	}
	return a, nil
}

// add appends one operation.
func (a *Action) add(name string, p *params) error {
	switch name {
	case "info":
		a.info = true
	case "crop":
		a.steps = append(a.steps, crop{
			width: p.number("w", 0, maxSide), height: p.number("h", 0, maxSide),
			placed: p.given("l") || p.given("t"), left: p.number("l", 0, maxSide), top: p.number("t", 0, maxSide),
			gravity: gravity(p.number("g", 0, int(gravityAuto))),
		})
		if p.given("g") && (p.given("l") || p.given("t")) {
			return errors.New("a place and a gravity cannot both be given")
		}
	case "rotate":
		turn, ok := map[int]turn{0: upright, 90: turnRight, 180: upsideDown, 270: turnLeft}[p.number("a", -1, 270)]
		if !ok {
			return errors.New("the angle a is one of 0, 90, 180 and 270")
		}
		a.steps = append(a.steps, turn)
	case "resize":
		a.steps = append(a.steps, resize{p.number("w", 0, maxSide), p.number("h", 0, maxSide), resizeMode(p.number("m", 0, int(resizeCover)))})
	case "watermark":
		a.steps = append(a.steps, lettering{text: p.text("t"), size: p.number("d", 150, maxTextSize), opacity: p.opacity(), color: p.color("c")})
	case "watermark_image":
		a.steps = append(a.steps, stamp{url: p.text("u"), left: p.number("l", 0, maxSide), top: p.number("t", 0, maxSide), opacity: p.opacity()})
	case "format":
		a.format = Format(p.take("t"))
		if !slices.Contains([]Format{JPEG, PNG, TIFF, WebP}, a.format) {
			return errors.New("the type t is one of jpeg, png, tiff and webp")
		}
	case "save":
		a.save = &Target{p.take("b"), p.take("k")}
		if a.save.Bucket == "" || a.save.Key == "" {
			return errors.New("the bucket b and the key k must be given")
		}
	default:
		return errors.New("no such operation")
	}
	return nil
}

// params are the parameters of one operation. The first that is wrong is kept.
type params struct {
	values map[string]string
	known  []string
	err    error
}

func readParams(text string) (*params, error) {
	p := &params{values: map[string]string{}}
	if text == "" {
		return p, nil
	}
	for pair := range strings.SplitSeq(text, ",") {
		key, value, ok := strings.Cut(pair, "_")
		if _, twice := p.values[key]; !ok || twice {
			return nil, fmt.Errorf("the parameter %q is not of the form key_value, or is there twice", pair)
		}
		p.values[key] = value
	}
	return p, nil
}

// take is the value of a parameter, "" if it is not given.
func (p *params) take(key string) string {
	p.known = append(p.known, key)
	return p.values[key]
}

func (p *params) given(key string) bool { return p.values[key] != "" }

// number reads a decimal number from 0 to most.
func (p *params) number(key string, absent, most int) int {
	text := p.take(key)
	if text == "" {
		return absent
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || n > uint64(most) {
		p.fail("the parameter %s is not a number from 0 to %d", key, most)
	}
	return int(n)
}

// opacity reads p, 0 < p <= 1. More than 1, as the documentation's own example
// has it, is 1.
func (p *params) opacity() float64 {
	text := p.take("p")
	if text == "" {
		return 0.25
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || !(n > 0) {
		p.fail("the opacity p is not a number above 0")
	}
	return min(n, 1)
}

// text reads a text in base64, of either alphabet, with or without the "=" at
// its end. It must be given.
func (p *params) text(key string) string {
	text := p.base64(key)
	if text == "" || len(text) > maxText || !utf8.ValidString(text) {
		p.fail("the parameter %s is not the base64 of 1 to %d bytes of UTF-8", key, maxText)
	}
	return text
}

func (p *params) base64(key string) string {
	text := strings.NewReplacer("-", "+", "_", "/", " ", "+").Replace(strings.TrimRight(p.take(key), "="))
	b, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil {
		p.fail("the parameter %s is not base64", key)
	}
	return string(b)
}

// color reads "#rrggbb" in base64, black if it is not given.
func (p *params) color(key string) color.NRGBA {
	text := p.base64(key)
	if text == "" {
		return color.NRGBA{A: 0xff}
	}
	rgb, err := hex.DecodeString(strings.TrimPrefix(text, "#"))
	if err != nil || len(rgb) != 3 || text[0] != '#' {
		p.fail("the colour %s is not the base64 of #rrggbb", key)
		return color.NRGBA{}
	}
	return color.NRGBA{rgb[0], rgb[1], rgb[2], 0xff}
}

func (p *params) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf(format, args...)
	}
}

// finish says what was wrong, if only that there are parameters nobody took.
func (p *params) finish() error {
	for key := range p.values {
		if !slices.Contains(p.known, key) {
			p.fail("it has no parameter %q", key)
		}
	}
	return p.err
}
