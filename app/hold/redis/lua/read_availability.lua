-- Reads the live numbers of many cabins in one call. Writes nothing; holds that expired within the last
-- second may still count as held.
-- KEYS[1] epoch: the epoch check
-- KEYS[2..] flight of each cabin
-- ARGV[1] epoch
-- ARGV[2..] cabin, one for each flight key
-- RETURNS EPOCH | READ, then for each cabin: 'limits|sold|held|version', three packed lists and the
--   flight's version ('' where unknown)
--@include frame

if not is_current() then
  return { 'EPOCH' }
end
local answer = { 'READ' }
for i = 2, #KEYS do
  local cabin = ARGV[i]
  local packed =
    redis.call('HMGET', KEYS[i], cabin .. ':limits', cabin .. ':sold', cabin .. ':held', 'version')
  answer[i] = packed[1] and table.concat(packed, '|') or ''
end
return answer
