-- Correct what was taken. KEYS: one counter per charge.
-- ARGV: the seat's name, slots of a window, the time of the taking, then kind, amount and span of each charge.
local seat, slots, at = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
for i, key in ipairs(KEYS) do
  local kind, amount, span = ARGV[3 * i + 1], ARGV[3 * i + 2], tonumber(ARGV[3 * i + 3])
  if kind == 'seats' then
    redis.call('ZREM', key, seat)
  elseif kind == 'window' then
    local slot = string.format('%d', math.floor(at * slots / span))
    if redis.call('HEXISTS', key, slot) == 1 then redis.call('HINCRBY', key, slot, amount) end
  elseif redis.call('EXISTS', key) == 1 then
    redis.call('INCRBY', key, amount)
  end
end
return 1
