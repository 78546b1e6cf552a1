-- Writes some live holds of the journal into an epoch that was loaded; one that is here is left alone.
-- KEYS[1] loading: guard
-- KEYS[2..] memo of each hold
-- ARGV[1] epoch
-- ARGV[2] prefix of the keys of this epoch, for the holds' own flights
-- ARGV[3..] of each hold, parted by blanks: hold_id lines expires_at granted_at fence extended request
-- RETURNS EPOCH | LOADED
-- TTL none
--@include frame
--@include holds

if not is_current() then
  return { 'EPOCH' }
end
local prefix = ARGV[2]
for i = 2, #KEYS do
  local id, packed, expires_at, granted_at, fence, extended, request =
    string.match(ARGV[i + 1], '^(%S+) (%S+) (%d+) (%d+) (%d+) (%d+) (%S*)$')
  if redis.call('EXISTS', KEYS[i]) == 0 then
    redis.call(
      'HSET', KEYS[i], 'state', 'HELD', 'lines', packed, 'expires_at', expires_at,
      'granted_at', granted_at, 'fence', fence, 'request', request
    )
    if extended ~= '0' then
      redis.call('HSET', KEYS[i], 'extended', 1)
    end
    for _, line in ipairs(lines_of(packed)) do
      add_held(prefix .. 'f:' .. line.flight, line.cabin, { [line.position] = line.seats })
    end
    await_expiry(prefix, packed, id, expires_at)
  end
end
return { 'LOADED' }
