-- Reads what each flight says, and the sum of its live holds. Writes nothing. Stops before it would count
-- more holds than allowed; if the first flight alone has more, it is returned uncounted.
-- KEYS[1] epoch: the epoch check
-- KEYS[2] pinned: pinned holds, by the time they were pinned
-- KEYS[3..] flight
-- ARGV[1] epoch
-- ARGV[2] prefix of this epoch's keys, for the flights' holds
-- ARGV[3] most holds to count in one call
-- ARGV[4..] flight_id of each flight key
-- RETURNS EPOCH | INSPECTED, then for each flight looked at: 'cabin|version|limits|sold|held|counted;...',
--   counted is '' if there were too many
--@include frame
--@include holds
--@include counting

if not is_current() then
  return { 'EPOCH' }
end
local prefix, left, answer = ARGV[2], tonumber(ARGV[3]), { 'INSPECTED' }
local pinned = redis.call('ZRANGE', KEYS[2], 0, left - 1)
for i = 3, #KEYS do
  local flight, expiries = ARGV[i + 1], prefix .. 'x:' .. ARGV[i + 1]
  local many = redis.call('ZCARD', expiries) + #pinned
  if many > left and i > 3 then
    break
  end
  local counted, seen = {}, {}
  local is_countable = many <= left
  if is_countable then
    count_live(prefix, flight, redis.call('ZRANGE', expiries, 0, -1), counted, seen)
    count_live(prefix, flight, pinned, counted, seen)
  end
  left = left - many
  local cabins = {}
  for _, name in ipairs(cabins_of(redis.call('HGETALL', KEYS[i]))) do
    local at = redis.call(
      'HMGET', KEYS[i], name .. ':version', name .. ':limits', name .. ':sold', name .. ':held'
    )
    local sum = is_countable and packed_like(at[4] or '', counted[name]) or ''
    cabins[#cabins + 1] =
      table.concat({ name, at[1], at[2] or '', at[3] or '', at[4] or '', sum }, '|')
  end
  answer[#answer + 1] = table.concat(cabins, ';')
end
return answer
