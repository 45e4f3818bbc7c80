-- Correct what was reserved. KEYS: one counter per charge.
-- ARGV: the holder's id, slots of a window, the time of the reservation, then kind, amount and seconds of each charge.
local holder, slots, at = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
for i, key in ipairs(KEYS) do
  local kind, amount, seconds = ARGV[3 * i + 1], ARGV[3 * i + 2], tonumber(ARGV[3 * i + 3])
  if kind == 'concurrency' then
    redis.call('ZREM', key, holder)
  elseif kind == 'window' then
    local slot = string.format('%d', math.floor(at * slots / seconds))
    if redis.call('HEXISTS', key, slot) == 1 then redis.call('HINCRBY', key, slot, amount) end
  elseif redis.call('EXISTS', key) == 1 then
    redis.call('INCRBY', key, amount)
  end
end
return 1
