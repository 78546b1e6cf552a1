-- Writes live holds of the journal into an epoch that is being loaded; one that is here is left alone.
-- KEYS[1] loading: guard
-- KEYS[2..] memo of each hold
-- ARGV[1] epoch
-- ARGV[2] prefix of the keys of this epoch, for the holds' own flights
-- ARGV[3..] of each hold: hold_id, lines, expires_at, granted_at, fence, extended ('' or 1), request
-- RETURNS EPOCH | LOADED
-- TTL none
--@include frame
--@include holds

if not is_current() then
  return { 'EPOCH' }
end
local prefix = ARGV[2]
for i = 2, #KEYS do
  local at = 3 + (i - 2) * 7
  local id, packed, expires_at = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  if redis.call('EXISTS', KEYS[i]) == 0 then
    redis.call(
      'HSET', KEYS[i], 'state', 'HELD', 'lines', packed, 'expires_at', whole(expires_at),
      'granted_at', ARGV[at + 3], 'fence', ARGV[at + 4], 'request', ARGV[at + 6]
    )
    if ARGV[at + 5] ~= '' then
      redis.call('HSET', KEYS[i], 'extended', 1)
    end
    for _, line in ipairs(lines_of(packed)) do
      add_held(prefix .. 'f:' .. line.flight, line.cabin, line.position, line.seats)
    end
    await_expiry(prefix, packed, id, expires_at)
  end
end
return { 'LOADED' }
