package gateway

// Speaking makes a gateway of these dialects.
var Speaking = speaking
