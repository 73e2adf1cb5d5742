package hyper

// Repairs counts what Repair put back, by what that is: "bridge" (made, set up or given an address), "forwarding" (a
// setting of the kernel), "rules" (translation and forwarding), "port" (a running machine's card, plugged in), "guard" (the rules of a
// card), "limit" (of what a card receives).
type Repairs map[string]int

// Add adds the counts of more.
func (r Repairs) Add(more Repairs) {
	for what, n := range more {
		r[what] += n
	}
}
