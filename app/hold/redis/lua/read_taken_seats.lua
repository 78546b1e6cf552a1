-- Reads how many seats of each cabin are taken, and by which version of its row: no ceiling may be lowered
-- below that. An expired hold counts until the journal has it as EXPIRED, since a rebuild would still find
-- it HELD there. Writes nothing.
-- KEYS[1] epoch: the epoch check
-- KEYS[2] ended: expired holds, until the journal has them as EXPIRED
-- KEYS[3..] flight of each cabin
-- ARGV[1] epoch
-- ARGV[2] prefix of this epoch's keys, for the expired holds
-- ARGV[3] most of these to look at
-- ARGV[4..] cabin, one for each flight key
-- RETURNS EPOCH | UNSURE | READ, then for each cabin: version, seats taken by class ('' where unknown)
--@include frame
--@include holds

if not is_current() then
  return { 'EPOCH' }
end
if redis.call('SCARD', KEYS[2]) > tonumber(ARGV[3]) then
  return { 'UNSURE' }
end
local cabins, answer = {}, { 'READ' }
for i = 3, #KEYS do
  local name = ARGV[i + 1]
  local packed =
    redis.call('HMGET', KEYS[i], name .. ':version', name .. ':sold', name .. ':held')
  local taken = numbers(packed[2] or '')
  for j, seats in ipairs(numbers(packed[3] or '')) do
    taken[j] = taken[j] + seats
  end
  cabins[KEYS[i] .. '|' .. name] = taken
  answer[#answer + 1] = packed[1] or ''
  answer[#answer + 1] = taken
end
for _, hold_id in ipairs(redis.call('SMEMBERS', KEYS[2])) do
  local lines = redis.call('HGET', ARGV[2] .. 'h:' .. hold_id, 'lines')
  if not lines then
    return { 'UNSURE' } -- its memo is gone: the seats that it held are unknown
  end
  for _, line in ipairs(lines_of(lines)) do
    local taken = cabins[ARGV[2] .. 'f:' .. line.flight .. '|' .. line.cabin]
    if taken and taken[line.position] then
      taken[line.position] = taken[line.position] + line.seats
    end
  end
end
for i = 3, #answer, 2 do
  answer[i] = table.concat(answer[i], ',')
end
return answer
