package erasure

import (
	"testing"
	"time"
)

func TestPaceFollowsWhatIsUsual(t *testing.T) {
	const most = 500 * time.Millisecond
	p := pace{factor: 4, least: 10}
	for range minSamples - 1 {
		p.learn(time.Millisecond)
	}
	if d := p.late(most); d != most {
		t.Errorf("late after %s with too few samples, want %s", d, most)
	}
	for range 100 {
		p.learn(time.Millisecond)
	}
	if d := p.late(most); d != most/10 {
		t.Errorf("late after %s when all is fast, want the least, %s", d, most/10)
	}
	for range 100 {
		p.learn(30 * time.Millisecond)
	}
	if d := p.late(most); d < 4*30*time.Millisecond || d >= 2*4*30*time.Millisecond {
		t.Errorf("late after %s when 30ms are usual", d)
	}
	for range 100 {
		p.learn(time.Second)
	}
	if d := p.late(most); d != most {
		t.Errorf("late after %s when all is slow, want the most, %s", d, most)
	}
}

func TestPaceKnowsWhatVaries(t *testing.T) {
	const most = time.Hour
	steady, varied := pace{factor: 1, least: 1 << 20}, pace{factor: 1, least: 1 << 20}
	for i := range 200 {
		steady.learn(50 * time.Millisecond)
		varied.learn(time.Duration(i%2) * 100 * time.Millisecond)
	}
	if s, v := steady.late(most), varied.late(most); v < 2*s {
		t.Errorf("late after %s when the pace varies, %s when it is steady", v, s)
	}
}
