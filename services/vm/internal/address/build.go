package address

import "github.com/jackc/pgx/v5"

// QueueDrop removes an address, in the generation in which the host owner had it, as a part of b. What a job changes
// stays: the job finds out that the reservation has expired, and takes everything back. So does a host that is being
// created.
func QueueDrop(b *pgx.Batch, ip, generation int32, owner string) {
	b.Queue(`
		DELETE FROM host_address x USING host h
		WHERE h.uuid = nullif($3, '')::uuid AND h.state <> 'creating'
		  AND h.id = x.host_id AND x.ip_id = $1 AND x.generation = $2 AND x.state = 'active'`, ip, generation, owner)
}
