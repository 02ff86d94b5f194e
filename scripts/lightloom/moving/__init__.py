"""Moving objects: comets and asteroids, matched with alerts along their tracks."""
