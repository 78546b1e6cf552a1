-- Writes some live holds of the journal into an epoch; a hold that is there already stays as it is.
-- KEYS[1] loading: the epoch check
-- KEYS[2..] memo of each hold
-- ARGV[1] epoch
-- ARGV[2] prefix of this epoch's keys, for the holds' own flights
-- ARGV[3..] of each hold, separated by blanks: hold_id lines expires_at granted_at token extended request
-- RETURNS EPOCH | LOADED
-- TTL none
--@include frame
--@include holds

if not is_current() then
  return { 'EPOCH' }
end
local prefix = ARGV[2]
for i = 2, #KEYS do
  local id, packed, expires_at, granted_at, token, extended, request =
    string.match(ARGV[i + 1], '^(%S+) (%S+) (%d+) (%d+) (%d+) (%d+) (%S*)$')
  if redis.call('EXISTS', KEYS[i]) == 0 then
    redis.call(
      'HSET', KEYS[i], 'state', 'HELD', 'lines', packed, 'expires_at', expires_at,
      'granted_at', granted_at, 'fence', token, 'request', request
    )
    if extended ~= '0' then
      redis.call('HSET', KEYS[i], 'extended', 1)
    end
    for _, line in ipairs(lines_of(packed)) do
      add_held(prefix .. 'f:' .. line.flight, line.cabin, { [line.position] = line.seats })
    end
    schedule_expiry(prefix, packed, id, expires_at)
  end
end
return { 'LOADED' }
