package metadata

// turn is a lock for whoever waits for a disk while holding it. It is a channel
// because time goes on for those who wait for one, in tests whose time is
// virtual.
type turn chan struct{}

func newTurn() turn    { return make(turn, 1) }
func (t turn) take()   { t <- struct{}{} }
func (t turn) giveUp() { <-t }
