package layout

// Group is a placement group: a fixed, ordered list of stores, its slots.
type Group struct {
	ID    GroupID
	Epoch uint32    // grows when a slot changes hands
	Slots []StoreID // holder of each slot
	Moves []Move    // by slot, how it came to its holder; nil if no slot ever changed hands
}

// Move is the last time a slot changed hands.
type Move struct {
	// Former is the store that held the slot before, and may still be the only
	// one with its chunks; zero once the holder has them all.
	Former StoreID
	Epoch  uint32       // of the group since then; 0 if the slot never changed hands
	At     RegistryTime // when it did
	// Settled is when the holder had all chunks, 0 if it has not.
	Settled RegistryTime
}

// Move returns how a slot came to its holder; the zero Move if it always was
// its.
func (g Group) Move(slot uint8) Move {
	if int(slot) >= len(g.Moves) {
		return Move{}
	}
	return g.Moves[slot]
}

// Unsettled reports whether chunks of a slot may still be with its former
// holder only.
func (g Group) Unsettled(slot uint8) bool { return !g.Move(slot).Former.IsZero() }

// NodeState is what one node believes about another at one moment. It is a
// hint: it decides where to try first, never what is true.
type NodeState struct {
	ID    NodeID
	Name  string // the operator's name for the node
	Zone  string // failure domain
	Alive bool
}

// StoreState is what one node believes about a store at one moment; a hint.
type StoreState struct {
	ID    StoreID
	Node  NodeID
	Alive bool // its node seems alive and has it, and it is not being avoided: read here first
	Up    bool // alive, and it takes writes
}

// View is an immutable snapshot of the cluster as one node sees it. Whoever
// holds a View may read it for as long as it likes; changes make a new View.
type View struct {
	Self   NodeID
	Scheme Scheme // the cluster's scheme for new parts
	Nodes  map[NodeID]NodeState
	Stores map[StoreID]StoreState
	Groups []Group // ascending ID, dense from 0

	Topology uint64 // version of what the registry says in it
}

// Group returns the group with the given ID.
func (v *View) Group(id GroupID) (Group, bool) {
	if int64(id) >= int64(len(v.Groups)) {
		return Group{}, false
	}
	return v.Groups[id], true
}

// Holding counts the nodes whose stores hold slots.
func (v *View) Holding() int {
	return Holding(v.Groups, func(s StoreID) NodeID { return v.Stores[s].Node })
}

// Holding counts the nodes whose stores hold slots of groups.
func Holding(groups []Group, nodeOf func(StoreID) NodeID) int {
	nodes := map[NodeID]bool{}
	for _, g := range groups {
		for _, s := range g.Slots {
			nodes[nodeOf(s)] = true
		}
	}
	return len(nodes)
}

// Up reports whether the View believes the store is up.
func (v *View) Up(s StoreID) bool { return v.Stores[s].Up }
